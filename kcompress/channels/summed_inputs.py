"""Where channels are read: the inputs of layers along an axis over which the layer sums with a weight.

Zeroing the weights with which a layer reads a channel is the same as zeroing the channel in the layer's input. Two ways
to read channels are not among them: a recurrent kernel reads the state of its own layer, and a product of two tensors
sums over an axis of both, such as the width of the keys of attention.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcompress.channels.channels import Channels
from kcompress.channels.identities import Ids
from kcompress.keras_internals import attention_part
from kcompress.model.flow import Call
from kcompress.model.view import Node, nodes


@dataclass(frozen=True, eq=False)
class SummedInput:
    """An argument of a layer, an axis of it, and the identities along that axis; the same at every call."""

    node: Node
    argument: str
    axis: int
    ids: Ids


def summed_inputs(model: Any, channels: Channels) -> list[SummedInput]:
    """All of them, in the order of the calls; with those of the last layer of attention, which combines the heads."""
    layers = {id(node.layer): node for node in nodes(model)}
    found: dict[int, list[SummedInput]] = {}
    for call in channels.flow.calls:
        if call.name is not None and id(call.operation) not in found:
            found[id(call.operation)] = [*_arguments(call, layers, channels), *_heads(call, layers, channels)]
    return [each for inputs in found.values() for each in inputs]


def by_layer(found: Sequence[SummedInput]) -> dict[int, list[int]]:
    """Id of a layer to the positions of its inputs in the list."""
    numbers: dict[int, list[int]] = {}
    for number, each in enumerate(found):
        numbers.setdefault(id(each.node.layer), []).append(number)
    return numbers


def units_read(channels: Channels) -> set[int]:
    """The units that anything reads, in one of the inputs above or in another way."""
    axes = [slices.axes[axis] for slices in channels.slices.values() for axis in slices.reads]
    return {int(unit) for ids in (*axes, *channels.mixed) if ids is not None for unit in channels.units.of(ids)}


def _arguments(call: Call, layers: Mapping[int, Node], channels: Channels) -> Iterator[SummedInput]:
    """Axes of the call's tensors along which there are units that the layer's weights sum over."""
    summed: set[int] = set()
    for variable in call.operation.weights:
        slices = channels.slices.get(id(variable))
        for axis in slices.reads if slices else ():
            ids = slices.axes[axis] if slices else None
            summed.update(() if ids is None else channels.units.of(ids).tolist())
    for argument, number in _tensors(call) if summed else ():
        axes = channels.tensors[number]
        for axis, ids in enumerate(axes):
            if ids is not None and not summed.isdisjoint(channels.units.of(ids).tolist()):
                yield SummedInput(layers[id(call.operation)], argument, axis - len(axes), ids)


def _tensors(call: Call) -> Iterator[tuple[str, int]]:
    """The arguments that are one tensor, by name, with the tensor's number."""
    numbers = dict(zip(map(id, call.symbols), call.inputs, strict=True))
    bound = inspect.signature(call.operation.call).bind(*call.args, **call.kwargs)
    for name, value in bound.arguments.items():
        if id(value) in numbers:
            yield name, numbers[id(value)]


def _heads(call: Call, layers: Mapping[int, Node], channels: Channels) -> Iterator[SummedInput]:
    """The input of the last layer of attention, (..., heads, width)."""
    dense = attention_part(call.operation, "output")
    slices = None if dense is None else channels.slices.get(id(dense.kernel))
    for axis, ids in zip((-2, -1), slices.axes[:2] if slices else (), strict=False):
        if ids is not None:
            yield SummedInput(layers[id(dense)], "inputs", axis, ids)
