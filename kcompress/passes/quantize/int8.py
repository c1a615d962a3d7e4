"""Compute with 8-bit integers: weights symmetric per channel, activations asymmetric per tensor with fixed ranges."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from kcompress.data import Dataset
from kcompress.errors import DataError
from kcompress.model.moments import Moment
from kcompress.model.view import Node, Weight
from kcompress.numerics.ranges import Method, Range
from kcompress.passes.base import Context, Need, PassResult
from kcompress.passes.capabilities import ComputesActivations
from kcompress.passes.quantize._grid import COMPARED, channel_axes, symmetric
from kcompress.passes.quantize._rounding import RoundingPass
from kcompress.passes.statistics import batches
from kcompress.quantization.fake_quantized import Limits, describe_point, fake_quantized_model, fixed_limits, ranges
from kcompress.quantization.plan import Activations, QuantPlan, WeightFormat

BITS = 8


class QuantizeInt8(RoundingPass, ComputesActivations):
    """Compute with 8-bit integers: a quarter of the bytes, faster where there are integer kernels.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", 2018. Weights that an earlier pass put on a grid keep it, so that `quantize.weights:bits=4` followed by
    this gives 4-bit weights with 8-bit activations. A `.keras` file holds weights on the grid and computes in float.
    What a file cannot compute in integers is named in the report. Fold batch normalization first. In `.onnx`,
    `quantize.weights:bits=7` before this is faster: ONNX Runtime's fast kernels overflow with 8-bit weights on
    processors without 8-bit dot products, so that 8 bits are stored for exact, slower ones.
    """

    mode: Literal["static", "dynamic", "weight_only"] = "static"
    """Whether activations are integers with ranges from calibration (static) or found at run time, or floats."""
    activations: Literal[8, 16] = 8
    """The bits of activations in static mode: 8, or 16 for more accuracy at less speed, in a .tflite file."""
    io: Literal["float", "int8"] = "float"
    """The type of the file's inputs and outputs in static mode."""
    ranges: Method = "minmax"
    """How the range of an activation is chosen; what lies outside is clipped, and minmax clips nothing."""
    percentile: float = Field(99.99, gt=50, le=100)
    """The share of an activation's values below its upper end, in percent, with ranges=percentile, such as 99.9."""

    @model_validator(mode="after")
    def _static_only(self) -> Self:
        if self.mode != "static" and (self.activations != 8 or self.io != "float"):
            raise ValueError(f"activations and io go with mode=static, not mode={self.mode}; leave them out")
        if self.io == "int8" and self.activations != 8:
            raise ValueError("io=int8 goes with activations=8; leave one of them out")
        return self

    @property
    def required(self) -> frozenset[Need]:
        return self.needs if self.mode == "static" else super().required

    def format_of(self, node: Node, weight: Weight, moment: Moment | None, digits: int) -> WeightFormat:
        return symmetric(weight.values, channel_axes(node, weight), BITS, digits=digits)

    def keeps(self, format: WeightFormat) -> bool:
        return format.bits <= BITS

    def computation(self) -> Activations | None:
        if self.mode == "weight_only":
            return None
        return Activations(self.mode, self.activations, self.ranges, self.percentile, self.samples, self.io)

    def run(self, model: Any, ctx: Context) -> PassResult:
        return replace(super().run(model, ctx), activations=self.computation())

    def computing(self, model: Any, rounded: Any, data: Dataset) -> AbstractContextManager[None]:
        activations = self.computation()
        if activations is None or activations.mode != "static":
            return super().computing(model, rounded, data)
        found = ranges(model, batches(model, data, COMPARED), self.ranges != "minmax")
        fixed = fixed_limits(model)
        if any(_fault(seen) for point, seen in found.items() if point not in fixed):
            self._refuse(ranges(model, batches(model, data, self.samples)), fixed, data)
        levels = 1 << self.activations
        limits = {point: seen.choose(self.ranges, levels, self.percentile) for point, seen in found.items()}
        return fake_quantized_model(rounded, QuantPlan(activations=activations), {**limits, **fixed})

    def _refuse(self, found: Mapping[str, Range], fixed: Limits, data: Dataset) -> None:
        """DataError naming the first layer whose values give no range, if there is one on all the samples."""
        for point, seen in found.items():
            if (fault := _fault(seen)) and not (seen.finite and point in fixed):
                raise DataError(
                    f"{self.name}: the values of {describe_point(point)} are {fault} on the samples of {data.name}; "
                    "calibrate with data like the training data, or repair the layer"
                )


def _fault(seen: Range) -> str:
    return "not finite" if not seen.finite else f"constant, {seen.low:g}," if seen.constant else ""
