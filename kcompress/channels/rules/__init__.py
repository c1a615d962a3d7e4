"""What each type of layer and operation does to channels: a table by class name, one rule each.

A rule takes a call with the identities of its inputs, and gives those of its outputs. It also records in the trace
which identities lie along the axes of the layer's weights, which of its settings count channels, and which identities
are the same or have to stay. To follow a new type, add a line to the table of the module where it belongs.
"""

from collections.abc import Sequence
from typing import Any

from kcompress.channels.rules import (
    attention,
    elementwise,
    linear,
    normalization,
    products,
    recurrent,
    selecting,
    shaping,
    wrapping,
)
from kcompress.channels.rules.visit import Rule, Visit, operands
from kcompress.channels.trace import Axes, Size, Tensor, Trace
from kcompress.keras_internals import layers_of
from kcompress.model.flow import Call, Flow, Shape
from kcompress.model.keras_quantization import is_altered
from kcompress.model.kernels import is_keras

MODULES = (linear, elementwise, normalization, shaping, selecting, products, recurrent, attention, wrapping)
LAYERS: dict[str, Rule] = {kind: rule for module in MODULES for kind, rule in module.LAYERS.items()}
OPERATIONS: dict[str, Rule] = {kind: rule for module in MODULES for kind, rule in module.OPERATIONS.items()}


def follow(trace: Trace, flow: Flow, entering: Sequence[Axes]) -> dict[int, Axes]:
    """Identities along the axes of each tensor of a flow, from those of its inputs."""
    tensors = dict(zip(flow.inputs, entering, strict=True))
    for call in flow.calls:
        given = [Tensor(flow.shapes[number], tensors[number]) for number in call.inputs]
        made = visit(trace, call, given, [flow.shapes[number] for number in call.outputs])
        tensors.update(zip(call.outputs, made, strict=True))
    for operation, number in flow.entries:
        sizes = zip(flow.shapes[number], tensors[number], operation.batch_shape, strict=True)
        shape = tuple(own if ids is None or own is None else Size(ids) for _, ids, own in sizes)
        trace.set(operation, "batch_shape", (operation.batch_shape[0], *shape[1:]))
    return tensors


def visit(trace: Trace, call: Call, given: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Axes]:
    """Identities along the axes of each output of a call; where its type is not known, its inputs are pinned."""
    found, masks = map(tuple, operands(call, given))
    return _visit(Visit(trace, call, call.operation, found, masks, tuple(shapes), _visit, follow))


def _visit(v: Visit) -> list[Axes]:
    import keras

    kind = type(v.layer).__name__
    if not is_keras(v.layer):
        return v.unknown(f"{v.label}, a custom layer, uses it")
    if isinstance(v.layer, keras.Layer):
        if _is_altered(v.layer):
            return v.unknown(f"{v.label}, which was quantized by Keras or has LoRA weights, uses it")
        rule = LAYERS.get(kind)
    else:
        rule = OPERATIONS.get(kind)
    for mask in v.masks:
        v.pin(mask.axes, f"{v.label} takes it for a mask")
    made = v.unknown(f"{v.label}, of type {kind}, uses it") if rule is None else rule(v)
    for axes in made:
        v.trace.gives(v.layer, axes)
    return made


def _is_altered(layer: Any) -> bool:
    """Whether Keras keeps other weights in a layer than it was built with; of wrappers each inner layer is asked."""
    parts = [layer] if type(layer).__name__ in wrapping.LAYERS else layers_of(layer)
    return any(map(is_altered, parts))


def describes(layer: Any) -> bool:
    """Whether there is a rule for the type of a layer."""
    return is_keras(layer) and type(layer).__name__ in LAYERS
