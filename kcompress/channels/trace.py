"""The record that rules write while the calls of a model are followed: identities, slices of weights, settings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from kcompress.channels.identities import Identities, Ids, Units
from kcompress.model.flow import Shape

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
    """Stands in a layer's settings for the number of these positions that stay."""

    ids: Ids


@dataclass(frozen=True)
class Source:
    """Where channels come from: the qualified name of a layer and what it has of them, such as `filters`."""

    layer: str
    what: str
    ids: Ids


@dataclass(frozen=True)
class Slices:
    """A weight, the identities along its axes, and the axes that the layer sums over, along which it reads channels.

    `rescale` is None or (ids, power). The weight is then multiplied by (share of `ids` that stay) ** power. Attention
    needs this for its queries, as it divides scores by the root of the width.
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
    """Collects what the rules say, call by call; `resolve` makes units of it."""

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
        """Record that a layer makes these channels, whose identities another layer made."""
        if (id(layer), what) not in self._made:
            self._made[id(layer), what] = ids
            self.sources.append(Source(self.name(layer), what, ids))

    def factor(self, size: int) -> Ids:
        """New identities of which those along an axis are to be composed, such as the groups of a layer."""
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
        """Unite two axes, position by position. If one has no identities, the other is pinned, for the reason given."""
        if one is not None and other is not None:
            self.identities.unite(one, other)
        else:
            self.pin(one if other is None else other, why)

    def weight(self, variable: Any, axes: Axes, reads: Sequence[int] = (), rescale: Any = None) -> None:
        """Record the identities along the axes of a weight; united with those of an earlier call of its layer."""
        spread = [axis is not None and size == 1 != len(axis) for axis, size in zip(axes, variable.shape, strict=True)]
        axes = tuple(None if one_for_all else axis for axis, one_for_all in zip(axes, spread, strict=True))
        known = self.slices.setdefault(id(variable), Slices(variable, axes, frozenset(reads), rescale))
        self.slices[id(variable)] = replace(known, reads=known.reads | frozenset(reads))
        why = self._kept.get(id(variable), f"{self.name(variable)} is used where it can't be cut")
        for one, other in zip(known.axes, axes, strict=True):
            self.unite(one, other, why)

    def set(self, operation: Any, key: Any, value: Any) -> None:
        """Record a setting that counts channels, with `Size` in place of numbers; united with what it had before."""
        known = self.fields.setdefault(id(operation), {}).setdefault(key, value)
        one, other = list(_leaves(known)), list(_leaves(value))
        why = f"{self.name(operation)} is called where its sizes can't be changed"
        if len(one) != len(other):
            one, other = one + other, [None] * (len(one) + len(other))
        for first, second in zip(one, other, strict=True):
            self.unite(_ids(first), _ids(second), why)

    def keep(self, operation: Any, why: str) -> None:
        """Leave an operation as it is wherever it is called: its settings, and all weights in it."""
        self._kept.setdefault(id(operation), why)
        for variable in getattr(operation, "variables", ()):
            self._kept.setdefault(id(variable), why)
            self.weight(variable, (None,) * len(variable.shape))

    def gives(self, operation: Any, axes: Axes) -> None:
        """Record that the operation gives a tensor with these axes."""
        self._given.append((self.name(operation), axes))

    def resolve(self) -> Units:
        """The units, after all calls. A unit in every position of an axis is pinned, as nothing would be left."""
        for key, why in self._kept.items():
            for value in self.fields.get(key, {}).values():
                for item in _leaves(value):
                    self.pin(_ids(item), why)
        units = self.identities.resolve()
        weights = [(self.name(slices.variable), slices.axes) for slices in self.slices.values()]
        for name, axes in (*weights, *self._given):
            every = (units.in_every_position(axis) for axis in axes if axis is not None and len(axis))
            for unit in chain.from_iterable(every):
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
