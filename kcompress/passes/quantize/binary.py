"""Store kernels as their signs times the mean magnitude of each output channel, or as -1, 0, 1 times a scale.

Binary: ŵ = α · sign(w), α = mean |w|. Ternary: ŵ = α · sign(w) where |w| > Δ, else 0; Δ = 0.7 · mean |w|, α = the mean
of the |w| above Δ. Both minimize the squared error per channel.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kcompress.model.moments import Moment
from kcompress.model.view import Node, Weight
from kcompress.numerics import affine
from kcompress.passes.quantize._grid import GridPass, channel_axes
from kcompress.quantization.plan import WeightFormat


class QuantizeBinary(GridPass):
    """Store kernels with one bit per weight, its sign, or with three levels; edge layers are spared.

    Sources: Rastegari, Ordonez, Redmon and Farhadi, "XNOR-Net", 2016; Li, Zhang and Liu, "Ternary Weight Networks",
    2016. Accuracy falls a lot without fine-tuning afterwards. A kernel that has zeros, after pruning for example, can
    only be ternary: zeros stay zero.
    """

    levels: Literal[2, 3] = 2
    """The number of values a weight can have: 2 for plus and minus, 3 for a zero between."""
    threshold: float = Field(0.7, ge=0, lt=3)
    """The magnitude below which a ternary weight is zero, as a share of its channel's mean magnitude, such as 0.7."""
    edges: bool = False
    """Also work on the first and the last layer: true or false."""

    def spared(self, nodes: list[Node]) -> dict[str, str]:
        if self.edges or len(nodes) < 3:
            return {}
        return {
            nodes[0].name: "the first layer is spared; edges=true includes it",
            nodes[-1].name: "the last layer is spared; edges=true includes it",
        }

    def concerns(self, node: Node, named: bool) -> bool | str:
        concern = super().concerns(node, named)
        if concern is True and self.levels == 2:
            holey = [weight.name for weight in self.kernels(node) if not weight.values.all()]
            if holey:
                return f"{holey[0]} has zeros, which one bit cannot hold; levels=3 can"
        return concern

    def format_of(self, node: Node, weight: Weight, moment: Moment | None, digits: int) -> WeightFormat:
        axes = channel_axes(node, weight)
        rows = np.abs(affine.to_rows(weight.values, axes).astype(np.float64))
        if self.levels == 2:
            return WeightFormat("int", 1, -1, 1, axes, _scales(rows.mean(1)))
        large = rows > self._cut(rows, 1)
        scale = np.divide(rows.sum(1, where=large), large.sum(1), out=np.zeros(len(rows)), where=large.any(1))
        return WeightFormat("int", 2, -1, 1, axes, _scales(scale))

    def round(self, node: Node, weight: Weight, format: WeightFormat, moment: Moment | None) -> NDArray[Any]:
        values = weight.values
        signs = np.sign(values)
        if self.levels == 2:
            return np.asarray(signs)
        magnitudes = np.abs(values.astype(np.float64))
        others = tuple(axis for axis in range(values.ndim) if axis not in format.axes)
        return np.asarray(np.where(magnitudes > self._cut(magnitudes, others), signs, 0))

    def _cut(self, magnitudes: NDArray[Any], axes: int | tuple[int, ...]) -> NDArray[Any]:
        """The largest magnitude that becomes zero, per channel; `axes` are those of the weights in a channel."""
        return np.asarray(self.threshold * magnitudes.mean(axes, keepdims=True))


def _scales(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(map(float, np.where(values > 0, values, 1).astype(np.float32)))
