"""What `fit` trains: the model as a tuple of outputs, alone with its loss on labels, or as the student of a Distiller.

The model is called as it is, so that what changes its calls meanwhile, such as fake quantization, counts. Outputs of
layers inside, features, come behind the model's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kcompress.model.call_hooks import forward_hooks
from kcompress.model.signature import signature
from kcompress.model.view import Node
from kcompress.training.losses.soft_targets import OutputKind, to_logits


def model_view(
    model: Any,
    features: Sequence[Node] = (),
    kinds: Sequence[OutputKind] = (),
    keys: Sequence[str] | None = None,
    also: Any = None,
) -> Any:
    """A Keras model that takes a dict by input names, which may hold more, and gives a tuple: outputs, then features.

    Outputs are turned into logits where `kinds` tell what they hold. `keys` are what the dict calls the inputs, in the
    model's order, where it does not use their names. `also` is a layer whose weights are trained with the model.
    """
    import keras

    sign = signature(model)
    taken = list(sign.inputs) if keys is None else keys

    class View(keras.Model):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__(name="view", dtype=model.dtype_policy)
            self.model = model
            self.also = also
            self.built = True

        def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> tuple[Any, ...]:
            seen: dict[str, Any] = {}
            dtypes = sign.dtypes.values()
            packed = sign.pack([keras.ops.cast(inputs[k], dtype) for k, dtype in zip(taken, dtypes, strict=True)])
            with forward_hooks(features, lambda node, _given, result: seen.setdefault(node.name, result)):
                outputs = list(keras.tree.flatten(self.model(packed, training=training)))
            if kinds:
                outputs = [to_logits(output, kind) for output, kind in zip(outputs, kinds, strict=True)]
            return (*outputs, *(seen[node.name] for node in features))

    return View()


def distillation(
    teacher: Any, student: Any, losses: Sequence[Any], weights: Sequence[float], labels: float, features: int
) -> Any:
    """Keras's Distiller of two views whose last outputs are features, so many, that labels say nothing about.

    `labels` is the weight of the loss on labels, `losses` and `weights` are those of the distillation.
    """
    import keras

    class Distiller(keras.distillation.Distiller):  # type: ignore[misc]
        def compute_loss(self, x: Any = None, y: Any = None, *given: Any, **named: Any) -> Any:
            return super().compute_loss(x, None if y is None else (*y, *(0.0,) * features), *given, **named)

    return Distiller(teacher, student, list(losses), list(weights), student_loss_weight=labels)


def precomputed_teacher(names: Sequence[str]) -> Any:
    """A teacher whose outputs were computed before: it gives those inputs that have these names, as a tuple."""
    import keras

    class PrecomputedTeacher(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="stored")
            self.built = True

        def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> tuple[Any, ...]:
            return tuple(inputs[name] for name in names)

    return PrecomputedTeacher()
