"""The loss of a model on labelled data: its own where it is compiled with one, else one that fits outputs and labels.

Class indices and one-hot rows go with cross-entropy, 0 and 1 for a single unit with binary cross-entropy, anything else
with the squared error. Whether outputs are probabilities or logits is read from the outputs themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompress.measure import scoring


@dataclass(frozen=True)
class Loss:
    """One function per output, (labels, outputs) to one value per sample; the loss is their sum, weighted."""

    functions: tuple[Callable[[Any, Any], Any], ...]
    weights: tuple[float, ...]

    def __call__(self, labels: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """The loss of each sample, a tensor of shape (samples,)."""
        import keras

        total: Any = 0.0
        for function, weight, label, output in zip(self.functions, self.weights, labels, outputs, strict=True):
            output = keras.ops.cast(output, "float32")
            values = keras.ops.reshape(function(label, output), (output.shape[0], -1))
            total = total + weight * keras.ops.mean(values, axis=1)
        return total


def loss_for(model: Any, name: str, outputs: Sequence[str], labels: Sequence[Any], predicted: Sequence[Any]) -> Loss:
    """The loss that fits a model and its labels.

    Args:
        model: a Keras model, compiled or not.
        name: how messages call the data.
        outputs: the names of the model's outputs, in order.
        labels: one array per output, of a batch; as `scoring.labels_for` gives them.
        predicted: what the model gives for that batch, one array per output.

    Raises:
        DataError: labels that do not fit an output.
    """
    own = _compiled(model, outputs)
    if own is not None:
        return own
    functions = []
    for output, label, values in zip(outputs, labels, predicted, strict=True):
        kind = scoring.kind_of(name, output, label, values)
        if kind == "classes":
            scoring.check_classes(name, output, label, values)
        functions.append(_chosen(kind, values))
    return Loss(tuple(functions), (1.0,) * len(functions))


def _chosen(kind: scoring.Kind, values: Any) -> Callable[[Any, Any], Any]:
    import keras

    losses = keras.losses
    if kind == "values":
        return lambda y, p: losses.mean_squared_error(keras.ops.reshape(y, p.shape), p)
    if kind == "binary":
        logits = bool(values.min() < 0 or values.max() > 1)
        return lambda y, p: losses.binary_crossentropy(keras.ops.reshape(y, p.shape), p, from_logits=logits)
    logits = not scoring.is_distribution(values)
    if kind == "one_hot":
        return lambda y, p: losses.categorical_crossentropy(y, p, from_logits=logits)
    return lambda y, p: losses.sparse_categorical_crossentropy(y, p, from_logits=logits)


def _compiled(model: Any, outputs: Sequence[str]) -> Loss | None:
    """The losses that a model was compiled with; None if it was not, or in a way that has no loss for each output."""
    import keras

    given = getattr(model, "loss", None)
    if not given:
        return None
    listed = [given[key] for key in outputs] if isinstance(given, dict) and set(given) == set(outputs) else given
    listed = listed if isinstance(listed, (list, tuple)) else [listed]
    weights = getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None) or [1.0] * len(listed)
    if len(listed) != len(outputs) or isinstance(listed[0], dict) or any(each is None for each in listed):
        return None
    functions = []
    for each in listed:
        found = keras.losses.get(each)
        functions.append(getattr(found, "call", found))  # a Loss object without its mean over the batch
    if isinstance(weights, dict):
        weights = [weights.get(key, 1.0) for key in outputs]
    return Loss(tuple(functions), tuple(map(float, np.atleast_1d(weights))))
