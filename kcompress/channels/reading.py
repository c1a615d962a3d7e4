"""Where channels are read: the arguments of layers that sum over them with a weight.

Zeroing the weights by which a layer reads a channel is the same as zeroing the channel in what the layer is given.
Two kinds of reading can't be seen so: of the state of a recurrent layer by its own recurrent kernel, and what a product
of two tensors sums over, as the width of the keys of attention.
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
class Place:
    """An argument of a layer, one of its axes, and the identities along that, the same at every call of the layer."""

    node: Node
    argument: str
    axis: int
    ids: Ids


def places(model: Any, channels: Channels) -> list[Place]:
    """Every place where units are read, in order; also what puts the heads of attention together."""
    by_layer = {id(node.layer): node for node in nodes(model)}
    found: dict[int, list[Place]] = {}
    for call in channels.flow.calls:
        if call.name is not None and id(call.operation) not in found:
            found[id(call.operation)] = [*_arguments(call, by_layer, channels), *_heads(call, by_layer, channels)]
    return [place for each in found.values() for place in each]


def numbered(found: Sequence[Place]) -> dict[int, list[int]]:
    """Id of a layer to the positions of its places in the list."""
    numbers: dict[int, list[int]] = {}
    for number, place in enumerate(found):
        numbers.setdefault(id(place.node.layer), []).append(number)
    return numbers


def read(channels: Channels) -> set[int]:
    """The units that anything reads, seen as a place or not."""
    axes = [slices.axes[axis] for slices in channels.slices.values() for axis in slices.reads]
    return {int(unit) for ids in (*axes, *channels.mixed) if ids is not None for unit in channels.units.of(ids)}


def _arguments(call: Call, by_layer: Mapping[int, Node], channels: Channels) -> Iterator[Place]:
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
                yield Place(by_layer[id(call.operation)], argument, axis - len(axes), ids)


def _tensors(call: Call) -> Iterator[tuple[str, int]]:
    """The arguments that are one tensor, by name, with the tensor's number."""
    numbers = dict(zip(map(id, call.symbols), call.inputs, strict=True))
    bound = inspect.signature(call.operation.call).bind(*call.args, **call.kwargs)
    for name, value in bound.arguments.items():
        if id(value) in numbers:
            yield name, numbers[id(value)]


def _heads(call: Call, by_layer: Mapping[int, Node], channels: Channels) -> Iterator[Place]:
    """What attention gives to its last layer, (..., heads, width)."""
    dense = attention_part(call.operation, "output")
    slices = None if dense is None else channels.slices.get(id(dense.kernel))
    for axis, ids in zip((-2, -1), slices.axes[:2] if slices else (), strict=False):
        if ids is not None:
            yield Place(by_layer[id(dense)], "inputs", axis, ids)
