"""Coupled channels: every channel of every tensor and weight of a model has an identity.

Layers that make channels give them new identities. `rules` says for each type of layer or operation what it does to the
identities that it gets; a type without a rule pins them, so that they stay. The units to remove then determine which
slices of weights go, and every number in a layer's settings that counts channels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.identities import Ids, Units
from kcompress.channels.rules import follow
from kcompress.channels.trace import Axes, Size, Slices, Source, Trace
from kcompress.errors import UnsupportedError
from kcompress.model.flow import Flow, flow
from kcompress.model.signature import signature
from kcompress.model.view import Node, nodes


@dataclass(frozen=True)
class Channels:
    """The channels of a model.

    Attributes:
        flow: the calls of the model.
        tensors: number of a tensor of the flow to the identities along its axes.
        sources: the layers that make channels, in order; one that makes several kinds has several entries.
        slices: id of a variable to how it is cut.
        fields: id of a layer or operation to its settings that count channels.
        mixed: identities that are summed over without a weight, as in the product of two tensors.
        factors: identities of which those along an axis are composed, as of a layer's groups.
        products: id of a layer that multiplies tensors to the axes of each product; its cost is their sizes multiplied.
        unknown: id of a layer or operation that no rule can follow to the reason.
        units: what can be removed.
    """

    flow: Flow
    tensors: Mapping[int, Axes]
    sources: tuple[Source, ...]
    slices: Mapping[int, Slices]
    fields: Mapping[int, Mapping[Any, Any]]
    mixed: tuple[Ids, ...]
    factors: tuple[Ids, ...]
    products: Mapping[int, tuple[Axes, ...]]
    unknown: Mapping[int, str]
    units: Units

    @cached_property
    def sources_of(self) -> Mapping[str, Sequence[Source]]:
        """Qualified name of a layer to what it makes."""
        found: dict[str, list[Source]] = {}
        for source in self.sources:
            found.setdefault(source.layer, []).append(source)
        return found

    def own(self, node: Node) -> Ids:
        """The units that a layer makes or passes on: those along the axes of its weights that it does not sum over."""
        found = [source.ids for source in self.sources_of.get(node.name, ())]
        for weight in node.weights:
            slices = self.slices.get(id(weight.variable))
            found += [] if slices is None else [axis for _, axis in slices.made]
        return self.units.of(np.concatenate([*found, np.zeros(0, np.intp)]))

    def follows(self, node: Node) -> bool:
        """Whether there are identities along any axis of a layer's kernels."""
        slices = (self.slices.get(id(weight.variable)) for weight in node.kernels)
        return any(axis is not None for each in slices if each is not None for axis in each.axes)

    def axes(self) -> Iterator[Ids]:
        """Every array of identities once: those along axes of tensors and weights, of sources and of factors."""
        weights = (slices.axes for slices in self.slices.values())
        found = [axis for axes in (*self.tensors.values(), *weights) for axis in axes if axis is not None]
        found += [*(source.ids for source in self.sources), *self.factors]
        yield from {id(ids): ids for ids in found}.values()

    def kept(self, ids: Ids, dropped: NDArray[np.bool_]) -> int:
        return int(self.units.stay(ids, dropped).sum())

    def fill(self, value: Any, dropped: NDArray[np.bool_]) -> Any:
        """A setting with numbers in place of `Size`."""
        if isinstance(value, Size):
            return self.kept(value.ids, dropped)
        if isinstance(value, (list, tuple)):
            return type(value)(self.fill(item, dropped) for item in value)
        if isinstance(value, slice):
            return slice(*self.fill((value.start, value.stop, value.step), dropped))
        return value


def channels(model: Any) -> Channels:
    """Follow the channels of a Functional or Sequential model through all of its calls; nothing is run.

    Raises UnsupportedError for a model without fixed inputs or of a class with a `call` or a constructor of its own.
    """
    signature(model)
    found, known = flow(model), nodes(model)
    if not found.outputs:
        raise UnsupportedError(
            f"'{model.name}' is of a class with a call or a constructor of its own, so a smaller one can't be built; "
            "make it with the functional API: keras.Model(inputs, outputs)"
        )
    names = {id(weight.variable): node.qualified(weight) for node in known for weight in node.weights}
    trace = Trace(names | {id(node.layer): node.name for node in known})
    tensors = follow(trace, found, [(None,) * len(found.shapes[number]) for number in found.inputs])
    for number in found.outputs:
        for axis in tensors[number]:
            trace.pin(axis, "its output is an output of the model")
    units = trace.resolve()
    return Channels(
        found,
        tensors,
        tuple(trace.sources),
        trace.slices,
        trace.fields,
        tuple(trace.mixed),
        tuple(trace.factors),
        trace.products,
        trace.unknown,
        units,
    )
