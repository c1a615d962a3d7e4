"""Which channels matter: those that must stay, and those that a weight other than zero reads for one that matters.

Found backwards from what must stay, so that channels that only read each other don't keep each other, as in the state
of a recurrent layer that nothing uses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.identities import Ids
from kcompress.channels.trace import Slices

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Read:
    """Positions of one axis of a weight, and which of them are read for which positions of the `others`."""

    ids: Ids
    others: tuple[Ids, ...]
    counts: Flags

    def units(self, channels: Channels, alive: Flags) -> Ids:
        """The units that are read for live ones."""
        table = self.counts
        for number, other in enumerate(self.others, 1):
            table = np.compress(channels.units.stay(other, ~alive), table, number)
        return channels.units.of(self.ids[table.any(axis=tuple(range(1, table.ndim)))])


def reads(channels: Channels, counts: Mapping[int, Flags]) -> list[Read]:
    """All reads, in the order of the calls. `counts` tells for some weights, by id, what counts instead of all that is
    not zero; axes along which everything stays may have length 1 there."""
    return [
        read
        for slices in channels.slices.values()
        if slices.reads
        for read in _reads(slices, counts.get(id(slices.variable)))
    ]


def _reads(slices: Slices, counts: Flags | None) -> Iterator[Read]:
    """Where two axes are read at once, each position along one counts whether or not those along the other do."""
    found: Any = np.asarray(slices.variable) != 0 if counts is None else counts
    free = tuple(number for number, ids in enumerate(slices.axes) if ids is None)
    found = found.any(axis=free, keepdims=True)
    for axis in sorted(slices.reads):
        ids = slices.axes[axis]
        if ids is not None:
            others = [n for n, other in enumerate(slices.axes) if n not in slices.reads and other is not None]
            rest = tuple(n for n in range(found.ndim) if n != axis and n not in others)
            table = np.moveaxis(found.any(axis=rest, keepdims=True), (axis, *others), range(1 + len(others)))
            table = table.reshape(table.shape[: 1 + len(others)])
            yield Read(ids, tuple(other for n in others if (other := slices.axes[n]) is not None), table)


def live(channels: Channels, found: list[Read], roots: Flags) -> Flags:
    """For each unit whether it is one of the roots or read for one that is live."""
    alive = roots.copy()
    while True:
        before = alive.sum()
        for read in reversed(found):
            alive[read.units(channels, alive)] = True
        if alive.sum() == before:
            return alive


def read_for(channels: Channels, found: list[Read], alive: Flags) -> Flags:
    """For each unit whether it is read for a live one."""
    marked = np.zeros_like(alive)
    for read in found:
        marked[read.units(channels, alive)] = True
    return marked


def emptied(channels: Channels, dropped: Flags) -> Flags:
    """Of the dropped units those without which an axis of a tensor or a weight would have no position left."""
    left, units = dropped.copy(), channels.units
    for axis in channels.axes():
        if len(axis) and not units.stay(axis, left).any():
            left[units.of(axis[:1])] = False
    return dropped & ~left


def single(channels: Channels) -> Flags:
    """The units that are alone along an axis, which weights are not told to read."""
    found = np.zeros(channels.units.count, bool)
    for axis in channels.axes():
        if len(axis) == 1:
            found[channels.units.of(axis)] = True
    return found
