"""What an output of a model holds, such as logits or probabilities, and which loss it calls for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.measure.scoring import Kind, is_distribution
from kcompress.model.flow import Call, Flow, flow
from kcompress.model.kernels import is_keras
from kcompress.model.observe import outputs, to_arrays
from kcompress.model.signature import signature
from kcompress.training.labelled import renamed
from kcompress.training.losses.soft_targets import OutputKind

Array = NDArray[Any]
LOGITS = {"softmax": False, "log_softmax": True, "sigmoid": False, "linear": True}
"""Whether what these activations give are logits."""
ROUNDING = 1e-5
"""The most by which shares may fail to sum to 1."""
CLASSES: dict[OutputKind, OutputKind] = {"logits": "logits", "probabilities": "logits", "sigmoid": "binary_logits"}
"""What an output that may hold values or logits holds, where the same output of another model holds this."""


def loss_for_output(model: Any, number: int, kind: Kind, labels: Array, output: Array) -> Any:
    """A loss of Keras's for output `number`, of which these are labels and what the model gives.

    Values that are 0 and 1 behind a sigmoid are several labels at once, rows that sum to 1 behind a softmax are soft
    labels: cross-entropy suits both.
    """
    import keras

    activation = _activation(model, number)
    if kind == "values" and activation == "sigmoid" and np.isin(labels, (0, 1)).all():
        kind = "binary"
    if kind == "values" and activation == "softmax" and is_distribution(labels):
        kind = "one_hot"
    if kind == "values":
        return keras.losses.MeanSquaredError()
    found = {
        "classes": keras.losses.SparseCategoricalCrossentropy,
        "one_hot": keras.losses.CategoricalCrossentropy,
        "binary": keras.losses.BinaryCrossentropy,
    }[kind]
    seen = bool(output.min() >= 0 and output.max() <= 1) if kind == "binary" else is_distribution(output)
    return found(from_logits=LOGITS.get(activation, not seen))


def _activation(model: Any, number: int) -> str:
    """The name of the function that makes an output of the model; empty if it is not known."""
    calls = flow(model)
    return _made_by(calls, calls.outputs[number])


def _made_by(calls: Flow, tensor: int) -> str:
    makers = calls.makers(tensor)
    call = makers[-1] if makers else None
    if call is not None and (parts := _averaged(calls, call)):
        found = {_made_by(calls, part) for part in parts}
        return found.pop() if len(found) == 1 else ""
    operation: Any = call.operation if call is not None else None
    while type(operation).__name__ == "TimeDistributed":
        operation = operation.layer
    if not is_keras(operation):
        return ""
    activation = getattr(operation, "activation", operation)
    name = str(getattr(activation, "__name__", type(activation).__name__))
    return {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log_softmax"}.get(name, name)


def _averaged(calls: Flow, call: Call) -> tuple[int, ...]:
    """The tensors of which a call makes the mean, by Average, or by Add of what Rescaling gives shares; else none."""
    import keras

    if isinstance(call.operation, keras.layers.Average):
        return call.inputs
    shares = [calls.producers.get(tensor) for tensor in call.inputs]
    if not isinstance(call.operation, keras.layers.Add) or any(each is None for each in shares):
        return ()
    scaled = [each for each in shares if each is not None and isinstance(each.operation, keras.layers.Rescaling)]
    factors = [(each.operation.scale, each.operation.offset) for each in scaled]
    if len(scaled) < len(shares) or any(np.ndim(scale) or scale < 0 or np.any(offset) for scale, offset in factors):
        return ()
    return tuple(each.inputs[0] for each in scaled) if abs(sum(scale for scale, _ in factors) - 1) < ROUNDING else ()


def output_kind(model: Any, number: int, kind: Kind | None, output: Array) -> OutputKind:
    """What output `number` holds; `kind` is that of its labels, None without labels, and `output` an example.

    An output that neither its activation nor its labels tell to be of classes is taken as values.
    """
    activation = _activation(model, number)
    if activation == "sigmoid":
        return "sigmoid"
    if activation == "softmax" or (activation not in LOGITS and is_distribution(output)):
        return "probabilities"
    if activation == "log_softmax" or kind in ("classes", "one_hot"):
        return "logits"
    return "binary_logits" if kind == "binary" else "values"


def output_kinds(
    models: Sequence[Any], batch: Mapping[str, NDArray[Any]], labels: Sequence[Kind] | None
) -> list[list[OutputKind]]:
    """For each model, such as a student and its teacher, what its outputs hold, in order.

    `batch` maps the first model's input names to arrays, `labels` are the kinds of the labels. Where one model's
    activation tells that an output is of classes, the same output of the others is too.
    """
    found = [_output_kinds(model, batch, labels) for model in models]
    for number, kinds in enumerate(zip(*found, strict=True)):
        of_classes: list[OutputKind] = [kind for kind in kinds if kind != "values"]
        for own in found:
            if own[number] == "values" and of_classes:
                own[number] = CLASSES.get(of_classes[0], of_classes[0])
    return found


def _output_kinds(model: Any, batch: Mapping[str, NDArray[Any]], labels: Sequence[Kind] | None) -> list[OutputKind]:
    sign = signature(model)
    found = outputs(model, sign, renamed(sign.inputs, batch))
    return [
        output_kind(model, n, None if labels is None else labels[n], np.asarray(to_arrays(output), np.float32))
        for n, output in enumerate(found)
    ]
