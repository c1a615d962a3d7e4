"""Identities of channels: which positions of which tensors must go together.

Every position along an axis has an identity, a whole number. Identities are united where positions can only go
together, and pinned where positions must stay. An identity is composed of others where its position goes as soon as one
of theirs does: position (i, j) of a flattened pair of axes goes with row i and with column j. The result are units:
sets of identities that can be removed independently of each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.intp]
"""One identity for each position of an axis."""


class Identities:
    """Collects which identities are united, pinned or composed; `resolve` makes units of them."""

    def __init__(self) -> None:
        self._count = 0
        self._pairs: list[tuple[Ids, Ids]] = []
        self._composed: list[tuple[Ids, tuple[Ids, ...], str]] = []
        self._pinned: list[tuple[Ids, str]] = []

    def new(self, size: int) -> Ids:
        """So many new identities."""
        self._count += size
        return np.arange(self._count - size, self._count)

    def unite(self, one: Ids, other: Ids) -> None:
        """Positions of two axes, one by one, are the same."""
        if one is not other:
            self._pairs.append((one, other))

    def compose(self, composed: Ids, parts: Sequence[Ids], why: str) -> None:
        """A position of `composed` stays if that of each of the `parts` stays. If another composition contradicts that,
        all of them are pinned, for the reason `why`."""
        self._composed.append((composed, tuple(parts), why))

    def pin(self, ids: Ids, why: str) -> None:
        """These stay, for the reason given."""
        self._pinned.append((ids, why))

    def resolve(self) -> "Units":
        """The units, once everything is known."""
        classes, composed = self._settle()
        units = np.setdiff1d(np.unique(classes), np.array(list(composed), np.intp))
        number = np.full(self._count + 1, len(units))
        number[units] = np.arange(len(units))
        expanded = {c: sorted(self._expand(c, composed)) for c in composed}
        width = max([1, *map(len, expanded.values())])
        per_class = np.full((self._count + 1, width), len(units))
        per_class[:, 0] = number
        for c, parts in expanded.items():
            per_class[c, : len(parts)] = number[parts]
        made_of = per_class[classes]
        reasons: dict[int, str] = {}
        for ids, why in self._pinned:
            for unit in np.unique(made_of[ids]):
                reasons.setdefault(int(unit), why)
        reasons.pop(len(units), None)
        return Units(len(units), made_of, reasons)

    def _settle(self) -> tuple[Ids, dict[int, tuple[int, ...]]]:
        """The class of each identity, and for each composed class the classes of its parts.

        If a class has two compositions, their parts are united; if these differ in number, all are pinned.
        """
        while True:
            classes = self._classes()
            composed: dict[int, tuple[int, ...]] = {}
            more: list[tuple[int, int]] = []
            for ids, parts, why in self._composed:
                rows = np.stack([classes[part] for part in parts], axis=1)
                for c, row in zip(classes[ids].tolist(), map(tuple, rows.tolist()), strict=True):
                    known = composed.setdefault(c, row)
                    if known == row:
                        continue
                    if len(known) == len(row):
                        more += [pair for pair in zip(known, row, strict=True) if pair[0] != pair[1]]
                    else:
                        self.pin(np.array([*known, *row]), why)
            if not more:
                return classes, composed
            self._pairs.append((np.array([a for a, _ in more]), np.array([b for _, b in more])))

    def _classes(self) -> Ids:
        """For each identity the smallest one that it is united with."""
        smallest = np.arange(self._count)
        if not self._pairs:
            return smallest
        one, other = (np.concatenate(side) for side in zip(*self._pairs, strict=True))
        while True:
            a, b = smallest[one], smallest[other]
            if np.array_equal(a, b):
                return smallest
            low = np.minimum(a, b)
            for side in (a, b):  # the representatives, so that sets of identities move at once
                np.minimum.at(smallest, side, low)
            while not np.array_equal(smallest, smallest[smallest]):
                smallest = smallest[smallest]

    def _expand(self, start: int, composed: dict[int, tuple[int, ...]]) -> set[int]:
        """The classes without parts that a composed class consists of; none if it is only composed of itself."""
        found, seen, left = set(), {start}, list(composed[start])
        while left:
            c = left.pop()
            if c in seen:
                continue
            seen.add(c)
            if c in composed:
                left += composed[c]
            else:
                found.add(c)
        return found


@dataclass(frozen=True)
class Units:
    """What can be removed.

    Attributes:
        count: how many units there are.
        made_of: (identities, k): the units that each identity is made of, padded with `count`.
        pinned: unit to the reason why it has to stay.
    """

    count: int
    made_of: Ids
    pinned: dict[int, str]

    def of(self, ids: Ids) -> Ids:
        """The units that some identities are made of, sorted."""
        found = np.unique(self.made_of[ids])
        return found[found < self.count]

    def in_every_position(self, ids: Ids) -> list[int]:
        """The units of which every position is made, so that dropping one of them leaves no position."""
        common = set(self.made_of[ids[0]].tolist()) - {self.count}
        for row in self.made_of[ids[1:]] if common else ():
            common &= set(row.tolist())
            if not common:
                break
        return sorted(common)

    def stay(self, ids: Ids, dropped: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which positions are left once the units are dropped for which `dropped` is true."""
        gone = np.append(dropped, False)[self.made_of[ids]]
        return np.asarray(~gone.any(axis=1))
