"""How many units of each group go: a ratio of each, a ratio of all, or as many as a budget takes.

All units are put in one order, those that go first in front: by rank within their group, or by score, which criteria
make comparable. An amount says how far to go along the order; a budget is met by bisection.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.cut import Dropped
from kcompress.channels.identities import Ids
from kcompress.channels.remaining_cost import RemainingCost
from kcompress.passes.prune._groups import ChannelGroup

NEAR = 1e-3  # shares of a budget that are not worth looking for
TRIES = 1000
Counts = NDArray[np.intp]
"""For each group how many of its units go."""


@dataclass(frozen=True)
class Order:
    """Groups whose units are ranked against each other; in each, those that go first come first.

    `turns` holds the number of a group for each step along the order, `keys` for each group those of its units. `base`
    are units that go in any case.
    """

    groups: tuple[ChannelGroup, ...]
    ranked: tuple[Ids, ...]
    keys: tuple[NDArray[np.float64], ...]
    turns: Ids
    base: Dropped

    @classmethod
    def of(cls, groups: Sequence[ChannelGroup], scores: NDArray[np.float64], ranking: str, base: Dropped) -> "Order":
        ranked = [group.units[np.argsort(scores[group.units], kind="stable")] for group in groups]
        if ranking == "global":
            keys = [scores[units] for units in ranked]
        else:
            keys = [
                1 - (1 - (np.arange(len(units)) + 0.5) / group.size) ** group.kinds
                for group, units in zip(groups, ranked, strict=True)
            ]
        owner = np.repeat(np.arange(len(groups)), [len(units) for units in ranked])
        order = np.argsort(np.concatenate(keys), kind="stable") if keys else np.zeros(0, np.intp)
        return cls(tuple(groups), tuple(ranked), tuple(keys), owner[order], base)

    def first(self, count: int) -> Counts:
        """What goes when one goes so far along the order."""
        wanted = np.bincount(self.turns[:count], minlength=len(self.groups))
        return np.array([group.allowed(int(n)) for group, n in zip(self.groups, wanted, strict=True)], np.intp)

    def ratio(self, share: float, ranking: str) -> Counts:
        """A share of the units of each group, or of all of them."""
        if ranking == "global":
            return self.first(round(share * sum(group.size for group in self.groups)))
        return np.array([group.allowed(round(group.part(share) * group.size)) for group in self.groups], np.intp)

    def dropped(self, channels: Channels, counts: Counts, guards: Sequence[Ids]) -> Dropped:
        """Which units go. Where nothing would be left of an axis, the position whose units go last stays."""
        units = channels.units
        gone = self.base.copy()
        last = np.zeros(units.count + 1)
        for ranked, count in zip(self.ranked, counts, strict=True):
            gone[ranked[:count]] = True
            last[ranked] = np.arange(len(ranked))
        for ids in guards:
            if not units.stay(ids, gone).any():
                made_of = units.made_of[ids]
                best = made_of[last[made_of].sum(axis=1).argmax()]
                gone[best[best < units.count]] = False
        return gone

    def guards(self, channels: Channels) -> list[Ids]:
        """The axes that would be empty if all units went that may go."""
        every = self.dropped(channels, self.first(len(self.turns)), ())
        return [ids for ids in channels.axes() if len(ids) and not channels.units.stay(ids, every).any()]


def within(order: Order, channels: Channels, cost: RemainingCost, target: float, guards: Sequence[Ids]) -> Dropped:
    """The fewest units that bring what is left down to the share `target`; all that may go if that is not enough."""

    def left(counts: Counts) -> float:
        return cost.share(order.dropped(channels, counts, guards))

    low, high = 0, len(order.turns)
    while low < high:
        middle = (low + high) // 2
        if left(order.first(middle)) <= target:
            high = middle
        else:
            low = middle + 1
    counts = order.first(low)
    if left(counts) < target - NEAR:  # one unit too many makes a large difference: look for smaller ones behind it
        counts = _closest(order, order.first(low - 1), order.turns[low - 1 :], target, left)
    return order.dropped(channels, counts, guards)


def _closest(order: Order, counts: Counts, turns: Ids, target: float, left: Callable[[Counts], float]) -> Counts:
    """Go on along the order, past units that take too much; the counts whose share comes closest below the target."""
    best, found = order.first(len(order.turns)), -math.inf
    for number in turns[:TRIES]:
        more = counts.copy()
        more[number] = order.groups[number].next(int(counts[number]))
        share = left(more)
        if share > target:
            counts = more
        elif share > found:
            best, found = more, share
            if share >= target - NEAR:
                break
    return best
