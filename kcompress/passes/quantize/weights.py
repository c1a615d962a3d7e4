"""Store kernels as whole numbers of 2 to 8 bits times a scale: w ≈ q · s, |q| <= 2^(bits - 1) - 1."""

from typing import Literal

from pydantic import Field

from kcompress.fields import tunable
from kcompress.model.moments import Moment
from kcompress.model.view import Node, Weight
from kcompress.numerics import affine
from kcompress.numerics.ranges import Method
from kcompress.passes.quantize._grid import channel_axes, symmetric
from kcompress.passes.quantize._rounding import RoundingPass, shrunk
from kcompress.quantization.plan import WeightFormat


class QuantizeWeights(RoundingPass):
    """Store kernels as whole numbers of 2 to 8 bits times a scale; computation stays in float32.

    Works on all kernels of Dense, EinsumDense, convolutions, Embedding, recurrent cells and attention; embeddings and
    recurrent cells get one scale each. Custom layers only where they are named. A `.tflite` or `.onnx` file holds
    packed integers, a `.keras` file floats on the grid, which compress well where the scale is a power of two. Rules
    give layers bits of their own: `{layers: dense, bits: 8}`.
    """

    bits: int = tunable(8, 2, 8, severe="low", weight_bits=True, ge=2, le=8)
    """The number of bits per weight, such as 4."""
    scale: Literal["float", "power_of_two"] = "float"
    """The kind of scale: any float, of 4 significant bits for a .keras file, or 2^-p, which makes that smaller."""
    granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    """Whether each output channel has a scale or a kernel has one."""
    ranges: Literal["minmax", "percentile", "mse", "entropy", "output"] = "minmax"
    """How the largest magnitude to represent is chosen, larger ones being clipped: minmax clips nothing, output clips
    where that changes the layer's outputs on calibration data less."""
    percentile: float = Field(99.99, gt=50, le=100)
    """The share of a channel's magnitudes to represent, in percent, with ranges=percentile, such as 99.9."""

    @property
    def calibrates(self) -> bool:
        return super().calibrates or self.ranges == "output"

    def format_of(self, node: Node, weight: Weight, moment: Moment | None, digits: int) -> WeightFormat:
        axes = channel_axes(node, weight) if self.granularity == "per_channel" else ()
        ranges: Method = "mse" if self.ranges == "output" else self.ranges
        digits = affine.POWER_OF_TWO if self.scale == "power_of_two" else digits
        if self.ranges == "output" and moment is not None:
            full = symmetric(weight.values, axes, self.bits, digits=digits)
            return shrunk(node, weight, full, moment, digits)
        return symmetric(weight.values, axes, self.bits, ranges, self.percentile, digits)
