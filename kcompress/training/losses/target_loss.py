"""The loss on labels as `compile` takes it: one function per output, with smoothed labels and weighted classes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import DataError, UsageError
from kcompress.keras_internals import function_settings
from kcompress.training.losses.model_loss import Loss
from kcompress.training.settings import TrainingSettings

Function = Callable[[Any, Any], Any]
"""Takes labels and outputs of a batch, and gives the mean loss of its samples."""


def functions(
    loss: Loss, settings: TrainingSettings, labels: Sequence[NDArray[Any]] | None, name: str, outputs: Sequence[str]
) -> list[Function]:
    """The loss of each output, times its weight. `labels` are all there are, of the data called `name`, if known.

    Raises DataError for a label without a class, of which not every backend says anything.

    Raises UsageError for label smoothing or class weights where no output is about classes.
    """
    if settings.label_smoothing and not any(loss.classes):
        raise UsageError(f"label_smoothing={settings.label_smoothing:g} is for class labels, which {name} has not")
    if settings.class_weights == "balanced" and not any(loss.classes):
        raise UsageError(f"class_weights=balanced is for class labels, which {name} has not; leave it out")
    if labels is not None:
        loss.check(name, outputs, labels)
    if settings.class_weights == "balanced" and labels is None:
        raise UsageError(f"class_weights=balanced, but {name} is another each time it is read; leave it out")
    return [
        _function(loss, number, settings, None if labels is None else labels[number], name)
        for number in range(len(loss.functions))
    ]


def _function(loss: Loss, number: int, settings: TrainingSettings, labels: NDArray[Any] | None, name: str) -> Function:
    classes, weight = loss.classes[number], loss.weights[number]
    own = loss.functions[number]
    if own is None:
        return no_loss
    if classes and settings.label_smoothing:
        own = _smoothed(own, classes, settings.label_smoothing)
    balanced = classes and labels is not None and settings.class_weights == "balanced"
    balance = _balance(labels, classes, name) if balanced and labels is not None else None

    def function(label: Any, output: Any) -> Any:
        from keras import ops

        values = loss.values(own, label, output)
        if balance is not None:
            values = values * ops.take(ops.convert_to_tensor(balance), ops.reshape(ops.cast(label, "int32"), (-1,)))
        return ops.mean(values) * weight

    return function


def no_loss(label: Any, output: Any) -> Any:
    """The loss of an output that labels say nothing about."""
    from keras import ops

    return ops.zeros(())


def _smoothed(own: Any, classes: int, share: float) -> Function:
    import keras

    logits = bool(function_settings(own).get("from_logits", False))
    smooth = keras.losses.CategoricalCrossentropy(from_logits=logits, label_smoothing=share, reduction=None)

    def function(label: Any, output: Any) -> Any:
        return smooth.call(keras.ops.one_hot(keras.ops.cast(label, "int32"), classes), output)

    return function


def _balance(labels: NDArray[Any], classes: int, name: str) -> NDArray[np.float32]:
    """A weight for each class: samples / (classes present · samples of it); 0 for a class that never occurs."""
    if labels.size != len(labels):
        raise DataError(f"{name}: class_weights=balanced takes one label for each sample; leave it out")
    counts = np.bincount(labels.reshape(-1).astype(int), minlength=classes)
    present = counts > 0
    weights = np.zeros(classes)
    weights[present] = labels.size / (present.sum() * counts[present])
    return weights.astype(np.float32)
