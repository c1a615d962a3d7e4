"""Who shares which channel: the identity of every channel of every tensor and weight of a model.

Layers that make channels give them new identities; what each type of layer or operation does to those that it gets is
told by `rules`. Whatever is not known there pins what it touches, by name. Removing a unit then fixes every slice of
every weight, and every number in a layer's settings that counts channels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import UnsupportedError
from kcompress.graph.flow import Flow, Shape, flow
from kcompress.graph.identities import Identities, Ids, Units
from kcompress.graph.signature import signature
from kcompress.graph.view import Node, nodes

Axis = Ids | None
"""The identities along one axis of a tensor or weight; None where every position stays, whatever is removed."""
Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor's shape and the identities along each of its axes, the batch axis included."""

    shape: Shape
    axes: Axes

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class Size:
    """In a layer's settings: as many as stay of these positions."""

    ids: Ids


@dataclass(frozen=True)
class Source:
    """Where channels come from: the qualified name of a layer and what it has of them, such as `filters`."""

    layer: str
    what: str
    ids: Ids


@dataclass(frozen=True)
class Slices:
    """A weight, the identities along its axes, and over which of the axes the layer sums, so that it reads there.

    `rescale` says by which power of (left / all) of which identities the weight is multiplied, as a query is by the
    root of the width of its keys.
    """

    variable: Any
    axes: Axes
    reads: frozenset[int]
    rescale: tuple[Ids, float] | None = None

    @property
    def made(self) -> list[tuple[int, Ids]]:
        """The axes with identities along which the layer does not sum, by number."""
        return [(n, axis) for n, axis in enumerate(self.axes) if axis is not None and n not in self.reads]


@dataclass
class Trace:
    """What the rules write into while the calls of a model are gone through in order."""

    names: Mapping[int, str]
    identities: Identities = field(default_factory=Identities)
    sources: list[Source] = field(default_factory=list)
    slices: dict[int, Slices] = field(default_factory=dict)
    fields: dict[int, dict[Any, Any]] = field(default_factory=dict)
    mixed: list[Ids] = field(default_factory=list)
    factors: list[Ids] = field(default_factory=list)
    products: dict[int, tuple[Axes, ...]] = field(default_factory=dict)
    unknown: dict[int, str] = field(default_factory=dict)
    _made: dict[tuple[int, str], Ids] = field(default_factory=dict)
    _kept: dict[int, str] = field(default_factory=dict)
    _given: list[tuple[str, Axes]] = field(default_factory=list)

    def name(self, item: Any) -> str:
        """The qualified name of a layer, operation or weight."""
        return self.names.get(id(item), str(item.name))

    def make(self, layer: Any, size: int, what: str) -> Ids:
        """New identities, the same ones at every call of the layer."""
        key = id(layer), what
        if key not in self._made:
            self._made[key] = self.identities.new(size)
            self.sources.append(Source(self.name(layer), what, self._made[key]))
        return self._made[key]

    def share(self, layer: Any, what: str, ids: Ids) -> None:
        """Say that a layer too makes these channels, which are known already."""
        if (id(layer), what) not in self._made:
            self._made[id(layer), what] = ids
            self.sources.append(Source(self.name(layer), what, ids))

    def factor(self, size: int) -> Ids:
        """New identities for the rows or columns of an axis that holds two or more, as a layer's groups."""
        self.factors.append(self.identities.new(size))
        return self.factors[-1]

    def fixed(self, size: int, why: str) -> Ids:
        """Identities of positions that stay."""
        ids = self.identities.new(size)
        self.identities.pin(ids, why)
        return ids

    def pin(self, axis: Axis, why: str) -> None:
        if axis is not None:
            self.identities.pin(axis, why)

    def unite(self, one: Axis, other: Axis, why: str) -> None:
        """Two axes are the same, position by position; one without identities pins the other, for the reason given."""
        if one is not None and other is not None:
            self.identities.unite(one, other)
        else:
            self.pin(one if other is None else other, why)

    def weight(self, variable: Any, axes: Axes, reads: Sequence[int] = (), rescale: Any = None) -> None:
        """How a weight is cut; one that was told of before, as of a layer that is called twice, agrees with itself."""
        spread = [axis is not None and size == 1 != len(axis) for axis, size in zip(axes, variable.shape, strict=True)]
        axes = tuple(None if one_for_all else axis for axis, one_for_all in zip(axes, spread, strict=True))
        known = self.slices.setdefault(id(variable), Slices(variable, axes, frozenset(reads), rescale))
        self.slices[id(variable)] = replace(known, reads=known.reads | frozenset(reads))
        why = self._kept.get(id(variable), f"{self.name(variable)} is used where it can't be cut")
        for one, other in zip(known.axes, axes, strict=True):
            self.unite(one, other, why)

    def set(self, operation: Any, key: Any, value: Any) -> None:
        """A setting that counts channels, with `Size` in place of numbers; agrees with itself as a weight does."""
        known = self.fields.setdefault(id(operation), {}).setdefault(key, value)
        one, other = list(_leaves(known)), list(_leaves(value))
        why = f"{self.name(operation)} is called where its sizes can't be changed"
        if len(one) != len(other):
            one, other = one + other, [None] * (len(one) + len(other))
        for first, second in zip(one, other, strict=True):
            self.unite(_ids(first), _ids(second), why)

    def keep(self, operation: Any, why: str) -> None:
        """Leave an operation as it is wherever it is called: its settings, and its weights with those inside it."""
        self._kept.setdefault(id(operation), why)
        for variable in getattr(operation, "variables", ()):
            self._kept.setdefault(id(variable), why)
            self.weight(variable, (None,) * len(variable.shape))

    def gives(self, operation: Any, axes: Axes) -> None:
        """A tensor with these axes comes from the operation."""
        self._given.append((self.name(operation), axes))

    def resolve(self) -> Units:
        """The units, after all calls; one that is all there is along an axis is pinned, for nothing would be left."""
        for key, why in self._kept.items():
            for value in self.fields.get(key, {}).values():
                for item in _leaves(value):
                    self.pin(_ids(item), why)
        units = self.identities.resolve()
        weights = [(self.name(slices.variable), slices.axes) for slices in self.slices.values()]
        for name, axes in (*weights, *self._given):
            for unit in (unit for axis in axes if axis is not None and len(axis) for unit in units.whole(axis)):
                units.pinned.setdefault(unit, f"it is all that {name} has along an axis")
        return units


def _ids(item: Any) -> Axis:
    """The identities that a number counts."""
    return item.ids if isinstance(item, Size) else None


def _leaves(value: Any) -> Iterator[Any]:
    """The numbers and `Size` in a setting."""
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


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
        factors: identities of the rows or columns of an axis that holds several, as of a layer's groups.
        products: id of a layer that multiplies tensors to the axes with whose sizes the cost of each product grows.
        unknown: id of a layer or operation that can't be followed to the reason.
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
        """The units of what a layer makes or passes on: along all axes of its weights but those that it sums over."""
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
        """The identities along every axis of a tensor or weight, and of whatever else has some; each array once."""
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
    from kcompress.graph.rules import follow

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
