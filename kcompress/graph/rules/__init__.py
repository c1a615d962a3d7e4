"""What each type of layer and operation does to channels: a table by class name, one rule each.

A rule is given a call with the identities of its inputs and gives those of its outputs. On the way it tells which
identities lie along the axes of the layer's weights, which of its settings count channels, and which identities are
the same or have to stay. To follow a new type, add a line to the table of the module where it belongs.
"""

from collections.abc import Sequence
from typing import Any

from kcompress.graph.channels import Axes, Tensor, Trace
from kcompress.graph.flow import Call, Shape
from kcompress.graph.kernels import is_keras
from kcompress.graph.rules import attention, elementwise, linear, normalization, products, recurrent, selecting, shaping
from kcompress.graph.rules.visit import Rule, Visit, masks

MODULES = (linear, elementwise, normalization, shaping, selecting, products, recurrent, attention)
LAYERS: dict[str, Rule] = {kind: rule for module in MODULES for kind, rule in module.LAYERS.items()}
OPERATIONS: dict[str, Rule] = {kind: rule for module in MODULES for kind, rule in module.OPERATIONS.items()}


def visit(trace: Trace, call: Call, given: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Axes]:
    """Identities along the axes of each output of a call; where its type is not known, its inputs are pinned."""
    masked = masks(call)
    for number in masked:
        for axis in given[number].axes:
            trace.pin(axis, f"{trace.name(call.operation)} takes it as a mask")
    taken = tuple(tensor for number, tensor in enumerate(given) if number not in masked)
    return _visit(Visit(trace, call, call.operation, taken, tuple(shapes), _visit))


def _visit(v: Visit) -> list[Axes]:
    import keras

    kind = type(v.layer).__name__
    if not is_keras(v.layer):
        return v.unknown(f"{v.label}, a custom layer, uses it")
    if isinstance(v.layer, keras.Layer):
        if getattr(v.layer, "quantization_mode", None) or getattr(v.layer, "lora_enabled", False):
            return v.unknown(f"{v.label}, which was quantized by Keras or has LoRA weights, uses it")
        rule = LAYERS.get(kind)
    else:
        rule = OPERATIONS.get(kind)
    return v.unknown(f"{v.label}, of type {kind}, uses it") if rule is None else rule(v)


def describes(layer: Any) -> bool:
    """Whether there is a rule for the type of a layer."""
    return is_keras(layer) and type(layer).__name__ in LAYERS
