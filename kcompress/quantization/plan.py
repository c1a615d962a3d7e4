"""QuantPlan: for each weight, by qualified name, the grid that its values lie on and how a file should store it.

Every writer starts from a stock Keras model, whose weights lie exactly on their grids, and this plan. A weight that
the plan does not name is stored as it is. `activations` says how the values between layers are to be computed: which
tensors there are only the converted file knows, so their ranges are measured on it, by the method given here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kcompress.numerics import affine
from kcompress.numerics.ranges import Method, Range
from kcompress.numerics.storage import on_float16_grid, to_float16_grid


@dataclass(frozen=True)
class WeightFormat:
    """How one weight is stored: `bits` per value, as a float, or as whole numbers from `low` to `high` times `scale`.

    One bit means -1 and 1, without 0. `scale` holds one number per position of the kernel's `axes`, in order; a single
    one where `axes` is empty. `sparse` tells that zeros were made to be zero, as by pruning, not by rounding, so that
    training keeps them.
    """

    kind: Literal["float", "int"]
    bits: int
    low: int = 0
    high: int = 0
    axes: tuple[int, ...] = ()
    scale: tuple[float, ...] = ()
    sparse: bool = False

    def scales(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The scales, shaped so that they broadcast against a weight of this shape."""
        return affine.along(np.asarray(self.scale, np.float32), self.axes, shape)

    def levels(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """The whole numbers nearest to the values; of one bit, 1 for 0."""
        if self.bits == 1:
            return np.where(values >= 0, 1, -1).astype(np.int32)
        return affine.to_levels(values, self.scales(values.shape), self.low, self.high)

    def holds(self, values: NDArray[Any]) -> bool:
        """Whether every value lies on the grid."""
        if self.kind == "float":
            return on_float16_grid(values)
        if self.bits == 1 and not values.all():
            return False
        return affine.on_levels(values, self.scales(values.shape), self.low, self.high)

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Each value moved to the nearest one on the grid."""
        if self.kind == "float":
            return to_float16_grid(values)
        return affine.from_levels(self.levels(values), self.scales(values.shape)).astype(values.dtype)


FLOAT16 = WeightFormat("float", 16)
TOLERANCE = 1e-4
"""By which share of their spread the same values may differ in two runtimes."""


@dataclass(frozen=True)
class LearnedRange:
    """The range to represent, `low` to `high`, of values that on calibration data are as seen.

    Which tensor of a file that is, its values tell: their minimum, maximum and mean.
    """

    seen_low: float
    seen_high: float
    seen_mean: float
    low: float
    high: float

    def fits(self, low: float, high: float, mean: float) -> bool:
        """Whether values with this minimum, maximum and mean are the ones, up to rounding."""
        room = TOLERANCE * max(self.seen_high - self.seen_low, 1e-30)
        seen = (self.seen_low, self.seen_high, self.seen_mean)
        return all(abs(one - other) <= room for one, other in zip(seen, (low, high, mean), strict=True))


@dataclass(frozen=True)
class Activations:
    """How values between layers are computed: as integers with ranges fixed by calibration, or found anew each time.

    `static` needs `samples` of calibration data; `dynamic` quantizes the input of each layer as it comes, to 8 bits.
    `io` is the type of the file's own inputs and outputs. `learned` are ranges that training found, which come before
    those of the method.
    """

    mode: Literal["static", "dynamic"]
    bits: int = 8
    ranges: Method = "minmax"
    percentile: float = 99.99
    samples: int = 512
    io: Literal["float", "int8"] = "float"
    learned: tuple[LearnedRange, ...] = ()

    def range_of(self, seen: Range) -> tuple[float, float]:
        """The range to represent for these values: the one that was learned for such, else what the method gives."""
        for entry in self.learned:
            if entry.fits(seen.low, seen.high, seen.mean):
                return entry.low, entry.high
        return seen.choose(self.ranges, 1 << self.bits, self.percentile)


@dataclass(frozen=True)
class QuantPlan:
    """Qualified weight name, such as `backbone/conv1/kernel`, to its format; and how activations are computed."""

    weights: Mapping[str, WeightFormat] = field(default_factory=dict)
    activations: Activations | None = None

    def __bool__(self) -> bool:
        return bool(self.weights) or self.activations is not None

    def updated(self, weights: Mapping[str, WeightFormat], activations: Activations | None = None) -> "QuantPlan":
        return QuantPlan({**self.weights, **weights}, activations or self.activations)
