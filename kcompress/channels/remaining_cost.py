"""A model's multiply-adds, parameters or bytes once units are dropped, without building the smaller model.

The multiply-adds of a layer are proportional to the size of its kernels, which is the product of the sizes left along
their axes: macs = sum over layers l of macs_l · (remaining size of the kernels of l) / (full size of the kernels of l).
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.channels.cut import Dropped
from kcompress.channels.identities import Ids
from kcompress.channels.trace import Axes
from kcompress.model.cost import macs_by_layer
from kcompress.model.rebuild import variables
from kcompress.model.view import nodes

Term = tuple[float, Axes, tuple[int, ...]]
"""One term of the sum: a factor, and axes with their full sizes. The term is the factor times the sizes that are left;
an axis of None keeps its size."""


class RemainingCost:
    """Computes what is left for one model, fast enough to try many choices of units."""

    def __init__(self, model: Any, channels: Channels, unit: str, bits: Mapping[int, int] | None = None) -> None:
        """`unit`: macs, parameters or bytes; `bits` says for ids of variables in how many bits they are stored.

        Raises ValueError for macs of a model with an input of unknown size.
        """
        terms = _macs(model, channels) if unit == "macs" else _weights(model, channels, unit, bits or {})
        self._channels = channels
        arrays: dict[int, int] = {}
        self._ids: list[Ids] = []
        factors, rows = [], []
        for factor, axes, sizes in terms:
            row = []
            for axis, size in zip(axes, sizes, strict=True):
                if axis is None:
                    factor *= size
                    continue
                if id(axis) not in arrays:
                    arrays[id(axis)] = len(self._ids)
                    self._ids.append(axis)
                row.append(arrays[id(axis)])
            factors.append(factor)
            rows.append(row)
        width = max(map(len, rows), default=0)
        one = len(self._ids)  # stands for an axis that is not there
        self._rows = np.array([[*row, *[one] * (width - len(row))] for row in rows], np.intp).reshape(len(rows), width)
        self._factors = np.array(factors, np.float64)
        self._starts = np.cumsum([0, *map(len, self._ids)])[:-1]
        self._made_of = channels.units.made_of[np.concatenate(self._ids)] if self._ids else np.zeros((0, 1), np.intp)
        self.total = self.remaining(np.zeros(channels.units.count, bool))

    def remaining(self, dropped: Dropped) -> float:
        """The cost without the dropped units, in the unit."""
        if not self._ids:
            return float(self._factors.sum())
        stay = ~np.append(dropped, False)[self._made_of].any(axis=1)
        sizes = np.append(np.add.reduceat(stay, self._starts, dtype=np.float64), 1.0)
        return float((self._factors * sizes[self._rows].prod(axis=1)).sum())

    def share(self, dropped: Dropped) -> float:
        """The cost without the dropped units, as a share of the full cost."""
        return self.remaining(dropped) / self.total if self.total else 1.0


def _weights(model: Any, channels: Channels, unit: str, bits: Mapping[int, int]) -> Iterable[Term]:
    for variable in variables(model):
        shape = tuple(int(size) for size in variable.shape)
        slices = channels.slices.get(id(variable))
        stored = bits.get(id(variable), 8 * np.dtype(np.asarray(variable).dtype).itemsize)
        axes = (None,) * len(shape) if slices is None else slices.axes
        yield (stored / 8 if unit == "bytes" else 1.0), axes, shape


def _macs(model: Any, channels: Channels) -> Iterable[Term]:
    per_layer = macs_by_layer(model)
    if per_layer is None:
        raise ValueError("the multiply-adds of a model with an input of unknown size are not known")
    for node in nodes(model):
        if node.name not in per_layer:
            continue
        if id(node.layer) in channels.products:
            parts = [
                (axes, tuple(1 if axis is None else len(axis) for axis in axes))
                for axes in channels.products[id(node.layer)]
            ]
        else:
            kernels = [v for v in node.layer.weights if "kernel" in v.name]
            known = [(channels.slices.get(id(v)), tuple(int(n) for n in v.shape)) for v in kernels]
            parts = [((None,) * len(n) if s is None else s.axes, n) for s, n in known]
        full = sum(math.prod(sizes) for _, sizes in parts)
        if not full:
            parts, full = [((), ())], 1
        for axes, sizes in parts:
            yield per_layer[node.name] / full, axes, sizes
