"""QuantPlan: for each weight, by qualified name, the grid that its values lie on and how a file should store it.

Every writer starts from a stock Keras model, whose weights lie exactly on their grids, and this plan. A weight that
the plan does not name is stored as it is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from kcompress.numerics.storage import on_float16_grid, to_float16_grid


@dataclass(frozen=True)
class WeightFormat:
    """How one weight is stored: `bits` per value, of kind `float`."""

    kind: Literal["float"]
    bits: int

    def holds(self, values: NDArray[Any]) -> bool:
        """Whether every value lies on the grid."""
        return on_float16_grid(values)

    def nearest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Each value moved to the nearest one on the grid."""
        return to_float16_grid(values)


FLOAT16 = WeightFormat("float", 16)


@dataclass(frozen=True)
class QuantPlan:
    """Qualified weight name, such as `backbone/conv1/kernel`, to its format."""

    weights: Mapping[str, WeightFormat] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.weights)

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def updated(self, weights: Mapping[str, WeightFormat]) -> "QuantPlan":
        return QuantPlan({**self.weights, **weights})

    def to_json(self) -> dict[str, Any]:
        return {name: asdict(entry) for name, entry in self.weights.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "QuantPlan":
        return cls({name: WeightFormat(**entry) for name, entry in document.items()})
