"""Values that several places give to units, such as the layers that make them, put together with equal votes.

At each place a unit's value is divided by the mean over the units of its group there; a unit's score is the mean of
that over its places.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.identities import Ids, Units

Values = NDArray[np.float64]


class Tally:
    """Collects values of units, each from some place; `scores` has one for each unit, NaN without a value."""

    def __init__(self, count: int, groups: Sequence[Ids]) -> None:
        self.group_of = np.full(count, -1)
        for number, members in enumerate(groups):
            self.group_of[members] = number
        self._sums = np.zeros(count)
        self._places = np.zeros(count, np.intp)

    def add(self, units: Ids, values: NDArray[Any]) -> None:
        """What one place says of some units, each of which is named once."""
        self._sums[units] += relative(values, self.group_of[units])
        self._places[units] += 1

    def scores(self) -> Values:
        known = self._places > 0
        means = np.divide(self._sums, self._places, out=np.full(len(known), np.nan), where=known)
        return np.where(self.group_of < 0, np.nan, relative(means, self.group_of))


def relative(values: NDArray[Any], groups: Ids) -> Values:
    """Values divided by the mean over their group, those left out that are NaN; zeros where that mean is zero.

    >>> relative(np.array([1, 3, 5, 0]), np.array([7, 7, 0, 2])).tolist()
    [0.5, 1.5, 1.0, 0.0]
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    _, number = np.unique(groups, return_inverse=True)
    sums = np.bincount(number, np.where(known, values, 0))
    means = sums / np.maximum(np.bincount(number, known), 1)
    return np.asarray(values / np.where(means > 0, means, 1)[number])


def totals(units: Units, ids: Ids, values: NDArray[Any]) -> tuple[Ids, Values]:
    """The units along an axis, and for each the sum of the values (positions, ...) at the positions made of it."""
    made_of = units.made_of[ids]
    present, number = np.unique(made_of, return_inverse=True)
    sums = np.zeros((len(present), *values.shape[1:]))
    np.add.at(sums, number.reshape(made_of.shape), values[:, None])
    real = present < units.count
    return present[real], sums[real]
