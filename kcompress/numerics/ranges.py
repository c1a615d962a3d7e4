"""Which range of values to represent: the full range, or less where clipping costs less than a larger scale.

`minmax` takes the full range, `percentile` the central share of values. `mse` and `entropy` try shares of the full
range and take the one with the least mean squared error, or the least Kullback-Leibler divergence between values and
quantized values (Migacz, "8-bit Inference with TensorRT", 2017), both estimated on a histogram.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kcompress.numerics import affine

Method = Literal["minmax", "percentile", "mse", "entropy"]
BINS = 2048
SHARES = np.linspace(1.0, 0.3, 71)  # of the full range, tried in this order; the first of equals wins
ENOUGH = 50  # values per bin; with fewer, entropy sees noise between bins and clips to avoid it, so it clips nothing
SAMPLE = 1 << 16  # values of one batch that go into a histogram; minimum and maximum are exact


@dataclass
class Range:
    """Statistics of a stream of values in bounded memory: exact minimum and maximum, and a histogram."""

    detailed: bool = True
    """Whether to keep a histogram; minmax needs none."""
    low: float = np.inf
    high: float = -np.inf
    finite: bool = True
    size: int = 0
    """How many values there were."""
    total: float = 0.0
    """Their sum."""
    limit: float = 0.0
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    """Over [-limit, limit], limit being a power of two that doubles as needed."""

    def add(self, values: NDArray[Any]) -> None:
        """Add a batch of any shape."""
        if not values.size:
            return
        self.size += values.size
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            self.finite = False
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.total += float(values.sum(dtype=np.float64))
        if self.detailed:
            drawn = values.ravel()
            if drawn.size > SAMPLE:  # at random: a stride could fall on the same channels over and over
                drawn = drawn[np.random.default_rng(drawn.size).integers(0, drawn.size, SAMPLE)]
            self._count(drawn, max(abs(low), abs(high)))

    def _count(self, values: NDArray[Any], reach: float) -> None:
        if self.limit == 0.0:
            self.limit = float(np.exp2(np.ceil(np.log2(max(reach, 1e-30)))))
        while self.limit < reach:
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.pad(merged, BINS // 4)
            self.limit *= 2
        self.counts += np.histogram(values, BINS, (-self.limit, self.limit))[0]

    @property
    def mean(self) -> float:
        """The mean of all values; 0 without any."""
        return self.total / self.size if self.size else 0.0

    @property
    def constant(self) -> bool:
        """Whether all values, of at least two, were the same."""
        return self.size > 1 and self.low == self.high

    def choose(self, method: Method, levels: int, percentile: float) -> tuple[float, float]:
        """The range to represent with this many levels; 0 always lies in it.

        `percentile` in (50, 100] is the share of values, in percent, below the upper and above the lower end.
        """
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if method == "minmax" or low == high or not self.counts.sum():
            return low, high
        edges = np.linspace(-self.limit, self.limit, BINS + 1)
        if method == "percentile":
            share = np.cumsum(self.counts) / self.counts.sum()
            lower = float(edges[min(int(np.searchsorted(share, 1 - percentile / 100, "right")), BINS - 1)])
            upper = float(edges[min(int(np.searchsorted(share, percentile / 100)) + 1, BINS)])
            return max(low, min(lower, 0.0)), min(high, max(upper, 0.0))
        centres = (edges[:-1] + edges[1:]) / 2
        inside = (self.counts > 0).nonzero()[0]
        if method == "entropy" and self.counts.sum() < ENOUGH * len(inside):
            return low, high
        values, counts = centres[inside], self.counts[inside] / self.counts.sum()
        judge = _squared_error if method == "mse" else _divergence
        costs = [judge(values, counts, low * share, high * share, levels) for share in SHARES]
        share = float(SHARES[int(np.argmin(costs))])
        return low * share, high * share


def _rounded(values: NDArray[Any], low: float, high: float, levels: int) -> NDArray[Any]:
    scale = (high - low) / (levels - 1)
    return np.asarray(np.rint((np.clip(values, low, high) - low) / scale) * scale + low)


def _squared_error(values: NDArray[Any], counts: NDArray[Any], low: float, high: float, levels: int) -> float:
    return float((counts * (values - _rounded(values, low, high, levels)) ** 2).sum())


def _divergence(values: NDArray[Any], counts: NDArray[Any], low: float, high: float, levels: int) -> float:
    """KL(P || Q): P has the clipped values at its ends, Q spreads each level's share evenly over the values in it.

    Q has nothing of the clipped values; that is the cost of clipping.
    """
    clipped = (values < low) | (values > high)
    p = counts.copy()
    kept = (~clipped).nonzero()[0]
    if not len(kept):
        return np.inf
    p[kept[0]] += counts[values < low].sum()
    p[kept[-1]] += counts[values > high].sum()
    level = np.rint((values[kept] - low) / ((high - low) / (levels - 1))).astype(int)
    total, members = np.bincount(level, counts[kept]), np.bincount(level)
    q = total[level] / members[level]
    q /= q.sum()
    return float((p[kept] * np.log(p[kept] / q)).sum())


def limits(rows: NDArray[Any], method: Method, bits: int, percentile: float) -> NDArray[np.float64]:
    """Largest magnitude to represent for every row of weights, with symmetric levels of `bits` bits.

    Shape (rows, values) to (rows,).
    """
    magnitudes = np.abs(rows.astype(np.float64))
    full: NDArray[np.float64] = magnitudes.max(1, initial=0)
    if method == "minmax" or not rows.size:
        return full
    if method == "percentile":
        cut = np.percentile(magnitudes, percentile, axis=1)
        return np.asarray(np.clip(cut, full * SHARES[-1], full))
    top = affine.largest_level(bits)
    if method == "mse":
        best, chosen = np.full(len(rows), np.inf), full.copy()
        for share in SHARES:
            scale = np.where(full > 0, full, 1)[:, None] * share / top
            cost = ((np.clip(np.rint(magnitudes / scale), 0, top) * scale - magnitudes) ** 2).sum(1)
            chosen, best = np.where(cost < best, full * share, chosen), np.minimum(cost, best)
        return chosen
    found = []
    for row in rows:
        statistics = Range()
        statistics.add(np.concatenate([row, -row]))
        found.append(statistics.choose("entropy", 2 * top + 1, percentile)[1])
    return np.asarray(found)
