"""Σ over the other units j of the group of ‖F_i − F_j‖, F being the filters of a unit in a kernel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.identities import Ids
from kcompress.passes.base import Context
from kcompress.passes.prune.criteria._criterion import Criterion
from kcompress.passes.prune.criteria._kernels import WEIGHTS, makers
from kcompress.passes.prune.criteria._tally import Tally

PIECE = 2**22  # elements of filters that are in float64 at once


class GeometricMedian(Criterion):
    """How far a unit's filters are from those of the others: one near the geometric median can be made up for.

    Source: He, Liu, Wang, Hu and Yang, "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
    Acceleration", 2019.
    """

    looks_at = WEIGHTS
    place = 70

    def collect(self, tally: Tally, model: Any, channels: Channels, ctx: Context, samples: int) -> None:
        for values, axis, ids in makers(model, channels):
            rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
            made_of = channels.units.made_of[ids]
            position, at = np.nonzero(made_of < channels.units.count)
            unit = made_of[position, at]
            group = tally.group_of[unit]
            for number in np.unique(group[group >= 0]):
                chosen = group == number
                units, where = _filters(unit[chosen], position[chosen], len(rows))
                tally.add(units, _distances(rows, where))


def _filters(unit: Ids, position: Ids, nowhere: int) -> tuple[Ids, Ids]:
    """The units, and for each the positions that are made of it, filled up with `nowhere`."""
    order = np.lexsort((position, unit))
    units, start, counts = np.unique(unit[order], return_index=True, return_counts=True)
    where = np.full((len(units), counts.max()), nowhere)
    which = np.repeat(np.arange(len(units)), counts)
    where[which, np.arange(len(order)) - np.repeat(start, counts)] = position[order]
    return units, where


def _distances(rows: NDArray[Any], where: Ids) -> NDArray[np.float64]:
    """Each unit's sum of distances to the others, by ‖a − b‖² = ‖a‖² + ‖b‖² − 2 a·b; a missing filter is zero.

    Memory: units × units, and a piece of the filters.
    """
    products = np.zeros((len(where), len(where)))
    width = max(1, PIECE // where.size)
    for start in range(0, rows.shape[1], width):
        piece = rows[:, start : start + width].astype(np.float64)
        piece = np.concatenate([piece, np.zeros_like(piece[:1])])[where].reshape(len(where), -1)
        products += piece @ piece.T
    squares = np.diag(products)
    between = squares[:, None] + squares - 2 * products
    np.fill_diagonal(between, 0)
    return np.asarray(np.sqrt(np.maximum(between, 0)).sum(1))
