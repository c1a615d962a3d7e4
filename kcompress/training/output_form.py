"""Which loss an output calls for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.measure.scoring import Kind, is_distribution
from kcompress.model.flow import Call, Flow, flow
from kcompress.model.kernels import is_keras
from kcompress.training.soft_targets import OutputKind

Array = NDArray[Any]
LOGITS = {"softmax": False, "log_softmax": True, "sigmoid": False, "linear": True}
"""Whether these activations make logits."""
ROUNDING = 1e-5
"""The most by which shares may fail to sum to 1."""


def choose(model: Any, number: int, kind: Kind, labels: Array, output: Array) -> Any:
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
