"""Store kernels as whole numbers of 2 to 8 bits times a scale: w ≈ q · s, |q| <= 2^(bits - 1) - 1."""

from typing import Literal

from pydantic import Field

from kcompress.graph.view import Node, Weight
from kcompress.layers.plan import WeightFormat
from kcompress.numerics.ranges import Method
from kcompress.passes.fields import tunable
from kcompress.passes.quantize._grid import GridPass, channel_axes, symmetric


class Weights(GridPass):
    """Store kernels as whole numbers of 2 to 8 bits times a scale; computation stays in float32.

    Works on all kernels of Dense, EinsumDense, convolutions, Embedding, recurrent cells and attention; embeddings and
    recurrent cells get one scale each. Custom layers only where they are named. A `.tflite` or `.onnx` file holds
    packed integers, a `.keras` file floats on the grid, which compress well where the scale is a power of two. Rules
    give layers bits of their own: `{layers: dense, bits: 8}`.
    """

    bits: int = tunable(8, 2, 8, ge=2, le=8)
    """The number of bits per weight, such as 4."""
    scale: Literal["float", "power_of_two"] = "float"
    """The kind of scale: any float, or 2^-p, which makes a .keras file smaller."""
    granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    """Whether each output channel has a scale or a kernel has one."""
    ranges: Method = "minmax"
    """How the largest magnitude to represent is chosen, larger ones being clipped: minmax clips nothing."""
    percentile: float = Field(99.99, gt=50, le=100)
    """The share of a channel's magnitudes to represent, in percent, with ranges=percentile, such as 99.9."""

    def format_of(self, node: Node, weight: Weight) -> WeightFormat:
        axes = channel_axes(node, weight) if self.granularity == "per_channel" else ()
        return symmetric(
            weight.values, axes, self.bits, self.ranges, self.percentile, power_of_two=self.scale == "power_of_two"
        )
