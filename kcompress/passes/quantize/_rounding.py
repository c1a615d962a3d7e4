"""Settings and work of the passes that can round a kernel by what it does to the layer's output."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kcompress.model.linear import linear
from kcompress.model.matrices import from_matrix, to_matrix
from kcompress.model.moments import Moment
from kcompress.model.rebuild import assign
from kcompress.model.view import Node, Weight
from kcompress.numerics import affine, rounding
from kcompress.passes.base import Context, Need
from kcompress.passes.capabilities import SharesStatistics
from kcompress.passes.quantize._grid import GridPass, Moments
from kcompress.passes.statistics import Statistics
from kcompress.quantization.plan import WeightFormat

SHARES = tuple(1 - i / 32 for i in range(17))
"""The shares of the scale that clips nothing which ranges=output tries."""


class RoundingPass(GridPass, SharesStatistics):
    """Base of the passes whose rounding may look at calibration data.

    A kernel that is no matrix of a product, as in recurrent cells and embeddings, is rounded to nearest all the same.
    """

    needs = frozenset({Need.CALIBRATION})

    rounding: Literal["nearest", "adaround", "gptq"] = "nearest"
    """How a weight becomes a whole number: the nearest, or so that the layer's outputs on calibration data change least
    (gptq: one after the other, making up for earlier errors; adaround: learned, slower)."""
    bias_correction: bool = False
    """Whether biases make up for the mean change of the layer's output on calibration data: true or false."""
    samples: int = Field(512, ge=1)
    """The number of calibration samples to use; fewer are fine."""

    @property
    def calibrates(self) -> bool:
        """Whether these settings ask for statistics of the layers' inputs."""
        return self.rounding != "nearest" or self.bias_correction

    @property
    def required(self) -> frozenset[Need]:
        each = (self, *(self.under(rule) for rule in self.rules if not rule.skip))
        return self.needs if any(settings.calibrates for settings in each) else frozenset()

    def statistics(self, model: Any) -> dict[str, int]:
        chosen = self.select(model).chosen
        return {n.name: s.samples for n, s in chosen if isinstance(s, RoundingPass) and s.calibrates}

    def moments(self, model: Any, ctx: Context) -> Moments:
        wanted = self.statistics(model)
        with ctx.progress(f"{self.name}: reading calibration data", None) if wanted else nullcontext():
            return (ctx.statistics or Statistics()).moments(model, ctx.data.calibration, wanted, ctx.seed)

    def round(self, node: Node, weight: Weight, format: WeightFormat, moment: Moment | None) -> NDArray[Any]:
        if moment is None or self.rounding == "nearest":
            return format.levels(weight.values)
        method = rounding.gptq if self.rounding == "gptq" else rounding.adaround
        grid = weight.values.astype(np.float64) / format.scales(weight.values.shape)
        ints = method(to_matrix(grid, node.layer, weight.name), moment.second, format.low, format.high)
        return from_matrix(ints, node.layer, weight.name)

    def settle(self, node: Node, changes: Mapping[str, NDArray[Any]], moments: Moments) -> list[str]:
        details = []
        blind = [name for name in changes if moments.get(name) is None]
        if self.rounding != "nearest" and blind:
            details.append(f"rounded to nearest, for want of a matrix: {', '.join(n.split('/')[-1] for n in blind)}")
        if self.bias_correction:
            details.append(
                "bias corrected" if _correct_bias(node, changes, moments) else "no bias that can be corrected"
            )
        return details


def _correct_bias(node: Node, changes: Mapping[str, NDArray[Any]], moments: Moments) -> bool:
    """Take the mean change of the layer's outputs from its bias; whether there was one.

    It is E[x] Δ, x being the kernel's input; what the first kernel of a separable convolution changes, the other sees.
    """
    found = linear(node.layer)
    bias = [weight for weight in node.weights if weight.role == "bias"]
    if found is None or not bias:
        return False
    shift: NDArray[Any] | None = None
    for weight in sorted(node.kernels, key=lambda weight: weight.name == found.last[0]):
        name = node.qualified(weight)
        moment = moments.get(name)
        if moment is None:
            return False
        if shift is not None:
            shift = shift @ to_matrix(weight.values, node.layer, weight.name)[0]
        if name in changes:
            change = to_matrix(changes[name], node.layer, weight.name)
            own = (moment.mean[:, None, :].astype(np.float64) @ change).ravel()
            shift = own if shift is None else shift + own
    if shift is None:
        return False
    assign([(bias[0].variable, bias[0].values - shift)])
    return True


def shrunk(node: Node, weight: Weight, full: WeightFormat, moment: Moment, digits: int) -> WeightFormat:
    """The grid `full`, or one with a smaller scale that clips, if that changes the layer's outputs less."""
    shape, name = weight.values.shape, weight.name
    matrix = to_matrix(weight.values.astype(np.float64), node.layer, name)
    scales = to_matrix(np.broadcast_to(full.scales(shape), shape), node.layer, name)[:, 0].astype(np.float64)
    tried = (affine.short(scales * share, digits) for share in SHARES)
    best = rounding.best_scale(matrix, tried, moment.second, full.low, full.high, together=len(full.scale) == 1)
    whole = from_matrix(np.broadcast_to(best[:, None], matrix.shape), node.layer, name)
    return replace(full, scale=tuple(map(float, affine.to_rows(whole, full.axes)[:, 0])))
