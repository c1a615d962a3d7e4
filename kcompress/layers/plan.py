"""QuantPlan: for each weight, by qualified name, the grid that its values lie on and how a file should store it.

Every writer starts from a stock Keras model, whose weights lie exactly on their grids, and this plan. A weight that
the plan does not name is stored as it is. `activations` says how the values between layers are to be computed: which
tensors there are only the converted file knows, so their ranges are measured on it, by the method given here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kcompress.numerics import affine
from kcompress.numerics.ranges import Method
from kcompress.numerics.storage import on_float16_grid, to_float16_grid


@dataclass(frozen=True)
class WeightFormat:
    """How one weight is stored: `bits` per value, as a float, or as whole numbers from `low` to `high` times `scale`.

    One bit means -1 and 1, without 0. `scale` holds one number per position of the kernel's `axes`, in order; a single
    one where `axes` is empty.
    """

    kind: Literal["float", "int"]
    bits: int
    low: int = 0
    high: int = 0
    axes: tuple[int, ...] = ()
    scale: tuple[float, ...] = ()

    def scales(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The scales, shaped so that they broadcast against a weight of this shape."""
        return affine.along(np.asarray(self.scale, np.float32), self.axes, shape)

    def levels(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """The whole numbers nearest to the values."""
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


@dataclass(frozen=True)
class Activations:
    """How values between layers are computed: as integers with ranges fixed by calibration, or found anew each time.

    `static` needs `samples` of calibration data; `dynamic` quantizes the input of each layer as it comes, to 8 bits.
    `io` is the type of the file's own inputs and outputs.
    """

    mode: Literal["static", "dynamic"]
    bits: int = 8
    ranges: Method = "minmax"
    percentile: float = 99.99
    samples: int = 512
    io: Literal["float", "int8"] = "float"


@dataclass(frozen=True)
class QuantPlan:
    """Qualified weight name, such as `backbone/conv1/kernel`, to its format; and how activations are computed."""

    weights: Mapping[str, WeightFormat] = field(default_factory=dict)
    activations: Activations | None = None

    def __bool__(self) -> bool:
        return bool(self.weights) or self.activations is not None

    def updated(self, weights: Mapping[str, WeightFormat], activations: Activations | None = None) -> "QuantPlan":
        return QuantPlan({**self.weights, **weights}, activations or self.activations)

    def to_json(self) -> dict[str, Any]:
        return {
            "weights": {name: asdict(entry) for name, entry in self.weights.items()},
            "activations": None if self.activations is None else asdict(self.activations),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "QuantPlan":
        weights = {
            name: WeightFormat(**{**entry, "axes": tuple(entry["axes"]), "scale": tuple(entry["scale"])})
            for name, entry in document["weights"].items()
        }
        activations = document["activations"]
        return cls(weights, None if activations is None else Activations(**activations))
