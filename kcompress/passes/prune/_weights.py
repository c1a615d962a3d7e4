"""What the weights that make units say of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.identities import Ids
from kcompress.errors import ModelError
from kcompress.model.view import nodes
from kcompress.passes.prune._tally import Tally, totals

PIECE = 2**22  # elements of filters that are in float64 at once


def norms(model: Any, channels: Channels, tally: Tally, order: int) -> None:
    """The l1 or l2 norm of the kernels that make a unit, all filters that go with it in one kernel taken together.

    Source: Li, Kadav, Durdanovic, Samet and Graf, "Pruning Filters for Efficient ConvNets", 2017.
    """
    for values, axis, ids in _makers(model, channels):
        over = tuple(number for number in range(values.ndim) if number != axis)
        powers = np.abs(values) if order == 1 else np.square(values)
        units, sums = totals(channels.units, ids, powers.sum(over, dtype=np.float64))
        tally.add(units, sums if order == 1 else np.sqrt(sums))


def scales(model: Any, channels: Channels, tally: Tally) -> None:
    """|γ| of the batch normalizations of a unit.

    Source: Liu, Li, Shen, Huang, Yan and Zhang, "Learning Efficient Convolutional Networks through Network Slimming",
    2017.
    """
    for node in nodes(model):
        gamma = getattr(node.layer, "gamma", None) if type(node.layer).__name__ == "BatchNormalization" else None
        (ids,) = channels.slices[id(gamma)].axes if id(gamma) in channels.slices else (None,)
        if ids is not None:
            tally.add(*totals(channels.units, ids, np.abs(_finite(gamma))))


def distances(model: Any, channels: Channels, tally: Tally) -> None:
    """Σ over the other units j of the group of ‖F_i − F_j‖, F being the filters of a unit in a kernel.

    A unit near the geometric median of all can be made up for by the rest. Source: He, Liu, Wang, Hu and Yang, "Filter
    Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration", 2019.
    """
    for values, axis, ids in _makers(model, channels):
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
    step = max(1, PIECE // where.size)
    for start in range(0, rows.shape[1], step):
        piece = rows[:, start : start + step].astype(np.float64)
        piece = np.concatenate([piece, np.zeros_like(piece[:1])])[where].reshape(len(where), -1)
        products += piece @ piece.T
    squares = np.diag(products)
    between = squares[:, None] + squares - 2 * products
    np.fill_diagonal(between, 0)
    return np.asarray(np.sqrt(np.maximum(between, 0)).sum(1))


def _makers(model: Any, channels: Channels) -> Iterator[tuple[NDArray[Any], int, Ids]]:
    """The values of kernels that make channels, each with an axis along which they lie, and their identities."""
    for node in nodes(model):
        for weight in node.kernels:
            slices = channels.slices.get(id(weight.variable))
            for axis, ids in enumerate(slices.axes if slices else ()):
                if slices and ids is not None and axis not in slices.reads:
                    yield _finite(weight.variable), axis, ids


def _finite(variable: Any) -> NDArray[Any]:
    values = np.asarray(variable)
    values = values.astype(np.promote_types(np.float32, values.dtype), copy=False)
    if not np.isfinite(values).all():
        raise ModelError(f"{variable.path} holds weights that are not finite; repair or train the model first")
    return values
