"""What a student learns from a teacher's outputs: Keras's distillation loss on logits, whatever the outputs hold.

KL(softmax(z_t / T), softmax(z_s / T)) · T², where z are logits: the logarithm of what a softmax made, and [0, logit] of
what a sigmoid made, since softmax([0, z]) = sigmoid(z). Outputs that are no classes are to be met: the mean squared
error. Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
"""

from collections.abc import Sequence
from typing import Any, Literal

OutputKind = Literal["logits", "probabilities", "sigmoid", "binary_logits", "values"]
"""What an output holds: logits or probabilities of classes, of single yes-or-no questions, or other values."""
EPSILON = 1e-7


def to_logits(output: Any, kind: OutputKind) -> Any:
    """Logits over the last axis, of the same softmax; values as they are, in float32."""
    from keras import ops

    output = ops.cast(output, "float32")
    if kind == "probabilities":
        return ops.log(ops.clip(output, EPSILON, 1.0))
    if kind == "sigmoid":
        output = ops.clip(output, EPSILON, 1 - EPSILON)
        output = ops.log(output) - ops.log(1 - output)
    if kind in ("sigmoid", "binary_logits"):
        return ops.stack([ops.zeros_like(output), output], axis=-1)
    return output


def soft_targets(kinds: Sequence[OutputKind], others: int, temperature: float) -> list[Any]:
    """Keras's losses between tuples of outputs, those of the teacher as `to_logits` gives them.

    `kinds` are those of the student's outputs, behind which come `others` more that these losses leave out.
    """
    import keras

    class OnLogits(keras.distillation.LogitsDistillation):  # type: ignore[misc]  # Keras has no types
        def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
            made = [to_logits(item, kind) for item, kind in zip(student_outputs, kinds, strict=False)]
            return super().compute_loss(teacher_outputs, (*made, *student_outputs[len(kinds) :]), **kwargs)

    def chosen(values: bool, loss: Any) -> tuple[Any, ...]:
        return tuple(loss if (kind == "values") is values else None for kind in kinds) + (None,) * others

    found: list[Any] = []
    if any(kind != "values" for kind in kinds):
        found.append(OnLogits(temperature, chosen(False, keras.losses.KLDivergence(reduction=None))))
    if any(kind == "values" for kind in kinds):
        found.append(
            keras.distillation.FeatureDistillation(chosen(True, keras.losses.MeanSquaredError(reduction=None)))
        )
    return found


def feature_loss(outputs: int, count: int, number: int, loss: str) -> Any:
    """Keras's loss between feature `number` of `count`, which come behind so many outputs."""
    import keras

    chosen: list[Any] = [None] * (outputs + count)
    chosen[outputs + number] = similarity if loss == "similarity" else keras.losses.get(loss)
    return keras.distillation.FeatureDistillation(tuple(chosen))


def similarity(theirs: Any, own: Any) -> Any:
    """How differently teacher and student see samples as alike: a number, for features of any two shapes.

    mean((G_t − G_s)²) · n, G being the n × n cosine similarities of the samples of a batch, each row of length 1.
    Source: Tung and Mori, "Similarity-Preserving Knowledge Distillation", 2019.
    """
    from keras import ops

    def gram(values: Any) -> Any:
        rows = ops.reshape(ops.cast(values, "float32"), (ops.shape(values)[0], -1))
        return ops.normalize(ops.matmul(rows, ops.transpose(rows)), axis=1)

    difference = gram(theirs) - gram(own)
    return ops.mean(ops.sum(ops.square(difference), axis=1))
