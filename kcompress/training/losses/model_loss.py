"""The loss of a model on labelled data: its own where it was compiled with one, else one that its outputs call for.

Class indices and one-hot labels call for cross-entropy, 0 and 1 for binary cross-entropy, other values for the mean
squared error. Whether an output is logits or probabilities is seen from the activation that makes it, or
where that is not known, from the outputs for a first batch.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.errors import DataError, UnsupportedError, UsageError
from kcompress.keras_internals import compiled_loss
from kcompress.measure.scoring import Kind, check_classes, kind_of
from kcompress.model.observe import outputs as run
from kcompress.model.observe import to_arrays
from kcompress.model.signature import signature
from kcompress.training.labelled import labelled
from kcompress.training.losses.output_kind import loss_for_output

BATCH = 32
BY_DATA = ("crossentropy", "ce")
"""Losses of which Keras chooses one by what it is given; here they stand for any choice."""
OTHERWISE = ("sparse", "generalized", "ctc", "circle")
"""In the names of losses whose labels have another shape than the outputs."""


@dataclass(frozen=True)
class Loss:
    """One loss of Keras's, or a function of (labels, outputs), for each output in order; None where none is wanted.

    `functions` and `weights` are also what `model.compile` takes as lists. `classes` tells of how many classes the
    labels are indices; 0 where they are something else. `kinds` are those of the labels.
    """

    functions: tuple[Any, ...]
    weights: tuple[float, ...]
    classes: tuple[int, ...]
    kinds: tuple[Kind, ...]

    def __call__(self, labels: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """The weighted sum over outputs, for each sample: a tensor (samples,), float32; the mean over positions."""
        parts = []
        for function, weight, label, output in zip(self.functions, self.weights, labels, outputs, strict=True):
            if function is not None:
                parts.append(weight * self.values(function, label, output))
        return sum(parts[1:], parts[0])

    @staticmethod
    def values(function: Any, labels: Any, output: Any) -> Any:
        """What a loss function is for each sample: a tensor (samples,), float32; the mean over positions."""
        from keras import ops

        output = ops.cast(output, "float32")
        labels = ops.convert_to_tensor(labels, "float32")
        if np.prod(labels.shape[1:]) == np.prod(output.shape[1:]):
            labels = ops.reshape(labels, (-1, *output.shape[1:]))
        found = (getattr(function, "call", function))(labels, output)
        return ops.mean(ops.reshape(found, (-1, int(np.prod(found.shape[1:])))), axis=1)

    def check(self, name: str, outputs: Sequence[str], labels: Sequence[NDArray[Any]]) -> None:
        """Raise DataError unless labels of the data `name` for these outputs are indices of classes, where they should.

        To be called for each batch: not every backend says anything of a label without a class.
        """
        for output, label, classes in zip(outputs, labels, self.classes, strict=True):
            if classes:
                check_classes(name, output, label, classes)


def loss_for(model: Any, data: Dataset, name: str | None = None) -> Loss:
    """The loss of a model on the data, whose first batch is looked at; that of Keras's called `name`, if one is given.

    Raises DataError for data without labels, or with labels that fit neither the outputs nor the model's own loss;
    UnsupportedError for a model that was compiled with several losses for one output.
    """
    sign = signature(model)
    batch = next(labelled(model, data, BATCH, BATCH))
    tensors = run(model, sign, batch.inputs)
    functions, weights, kinds = [], _weights(model, sign.outputs), []
    classes = []
    for number, own in enumerate(_functions(model, sign.outputs) if name is None else [name] * len(sign.outputs)):
        label, output = batch.labels[number], np.asarray(to_arrays(tensors[number]), np.float32)
        if isinstance(own, str) and own.lower() in BY_DATA:
            kind = kind_of(data.name, sign.outputs[number], label, output)
            functions.append(loss_for_output(model, number, kind, label, output))
            counted = kind == "classes"
            kinds.append(kind)
        else:
            functions.append(_get(own))
            counted = _is(functions[-1], "sparse") and getattr(functions[-1], "ignore_class", None) is None
            _check_shapes(data.name, sign.outputs[number], functions[-1], label, output)
            kinds.append(_kind(functions[-1]))
        classes.append(output.shape[-1] if counted else 0)
    found = Loss(tuple(functions), tuple(weights), tuple(classes), tuple(kinds))
    found.check(data.name, sign.outputs, batch.labels)
    try:
        found(batch.labels, tensors)
    except Exception as error:
        raise DataError(
            f"{data.name}: the model's own loss can't be computed from these labels ({type(error).__name__}); "
            "give labels like those it was trained on, or compile it without a loss"
        ) from error
    return found


def _kind(function: Any) -> Kind:
    """What labels a loss of Keras's is for."""
    if _is(function, "sparse"):
        return "classes"
    return "one_hot" if _is(function, "categorical") else "binary" if _is(function, "binary") else "values"


def _get(own: Any) -> Any:
    """A loss of Keras's; UsageError for a name that it does not have."""
    import keras

    try:
        return keras.losses.get(own)
    except ValueError as error:
        known = [item for item in dir(keras.losses) if item.islower() and not item.startswith("_")]
        near = difflib.get_close_matches(str(own), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "give a name such as categorical_crossentropy"
        raise UsageError(f"loss={own} is no loss of Keras's; {hint}") from error


def _functions(model: Any, names: Sequence[str]) -> list[Any]:
    """For each output what the model was compiled with; a loss to be chosen where it has none at all."""
    compiled = compiled_loss(model)
    found = [None] if compiled is None else _each(model, names, compiled[0])
    return [BY_DATA[0]] * len(names) if all(own is None for own in found) else found


def _weights(model: Any, names: Sequence[str]) -> list[float]:
    compiled = compiled_loss(model)
    found = [None] * len(names) if compiled is None else _each(model, names, compiled[1])
    return [1.0 if weight is None else float(weight) for weight in found]


def _each(model: Any, names: Sequence[str], given: Any) -> list[Any]:
    """For each output what `compile` was given for it: one for all, a list in order, or a dict by name."""
    if isinstance(given, dict) and not {"class_name", "config"} <= given.keys():
        others = getattr(model, "output_names", names)
        return [given.get(name, given.get(other)) for name, other in zip(names, others, strict=True)]
    if not isinstance(given, (list, tuple)):
        return [given] * len(names)
    if len(given) != len(names):
        raise UnsupportedError(
            f"'{model.name}' was compiled with {len(given)} losses or weights for {len(names)} output(s); "
            "compile it with one for each, or without a loss"
        )
    return list(given)


def _is(function: Any, *words: str) -> bool:
    """Whether a loss is one of Keras's own, an object or a function, with one of these words in its name."""
    own = str(getattr(function, "__module__", "")).split(".")[0] == "keras"
    name = f"{type(function).__name__} {getattr(function, '__name__', '')}".lower()
    return own and any(word in name for word in words)


def _check_shapes(name: str, output_name: str, function: Any, label: NDArray[Any], output: NDArray[Any]) -> None:
    """Raise DataError where a loss of Keras's own would stretch labels over what they are not for."""
    sparse = _is(function, "sparse")
    if not _is(function, "") or (_is(function, *OTHERWISE) and not sparse):
        return
    if label.size * (output.shape[-1] if sparse else 1) != output.size:
        wanted = "class indices" if sparse else "values of the output's shape"
        raise DataError(
            f"{name}: labels of shape {label.shape[1:]} do not fit output '{output_name}' of shape {output.shape[1:]} "
            f"under the loss that the model was compiled with; give {wanted}, or compile it without a loss"
        )
