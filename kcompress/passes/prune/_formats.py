"""The grids of weights that were cut: the scales of the channels that stay."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.channels.cut import Dropped, factor
from kcompress.channels.trace import Slices
from kcompress.model.view import nodes
from kcompress.quantization.plan import QuantPlan, WeightFormat


def sliced_formats(model: Any, channels: Channels, dropped: Dropped, plan: QuantPlan) -> Mapping[str, WeightFormat]:
    """The entries of the plan that change, by qualified name, for the model that `cut` makes of `model`.

    A weight that is rescaled keeps its whole numbers, so that its scales are rescaled. One that lies on a float16 grid
    leaves it then; whoever cuts has to see to that.
    """
    found = {}
    for node in nodes(model):
        for weight in node.weights:
            weight_format = plan.weights.get(node.qualified(weight))
            slices = channels.slices.get(id(weight.variable))
            if weight_format is not None and slices is not None and weight_format.kind == "int":
                new = _sliced(weight_format, channels, slices, dropped)
                if new != weight_format:
                    found[node.qualified(weight)] = new
    return found


def _sliced(weight_format: WeightFormat, channels: Channels, slices: Slices, dropped: Dropped) -> WeightFormat:
    scales = weight_format.scales(tuple(slices.variable.shape))
    for number in {axis % scales.ndim for axis in weight_format.axes}:
        ids = slices.axes[number]
        if ids is not None:
            scales = np.compress(channels.units.stay(ids, dropped), scales, number)
    scales = scales * np.float32(factor(channels, slices, dropped))
    return replace(weight_format, scale=tuple(scales.ravel().tolist()))
