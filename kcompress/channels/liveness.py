"""Which channels are live: those that must stay, and those that a live channel reads with a weight other than zero.

The search goes backwards from those that must stay. So channels that only read each other are not live, as in the state
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
    """One axis of a weight along which channels are read.

    `counts` has shape (positions of `ids`, positions of each of `others`): whether the first is read for the others.
    """

    ids: Ids
    others: tuple[Ids, ...]
    counts: Flags

    def units(self, channels: Channels, alive: Flags) -> Ids:
        """The units of the axis that are read for live units."""
        table = self.counts
        for number, other in enumerate(self.others, 1):
            table = np.compress(channels.units.stay(other, ~alive), table, number)
        return channels.units.of(self.ids[table.any(axis=tuple(range(1, table.ndim)))])


def reads(channels: Channels, counts: Mapping[int, Flags]) -> list[Read]:
    """All reads, in the order of the calls.

    Elements of a weight that are not zero count, or those that `counts` has for the id of the weight; axes along which
    everything stays may have length 1 there.
    """
    return [
        read
        for slices in channels.slices.values()
        if slices.reads
        for read in _reads(slices, counts.get(id(slices.variable)))
    ]


def _reads(slices: Slices, counts: Flags | None) -> Iterator[Read]:
    """The reads of one weight, one for each axis; the other axes along which it reads are taken to be live."""
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
    """The dropped units that must stay after all, since an axis would have no position left without them."""
    left, units = dropped.copy(), channels.units
    for axis in channels.axes():
        if len(axis) and not units.stay(axis, left).any():
            left[units.of(axis[:1])] = False
    return dropped & ~left


def single(channels: Channels) -> Flags:
    """The units of axes of length 1."""
    found = np.zeros(channels.units.count, bool)
    for axis in channels.axes():
        if len(axis) == 1:
            found[channels.units.of(axis)] = True
    return found
