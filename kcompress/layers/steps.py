"""Step sizes that are learned: one for each scale of a planned weight, and for the range of each quantized point.

ŵ = round(clip(w / s, low, high)) · s with a straight-through round, so that dŵ/ds = round(w / s) − w / s inside the
range and `low` or `high` outside. Source: Esser et al., "Learned Step Size Quantization", 2020. What is learned is
t in s = s₀ · exp(t): one learning rate then suits steps of any size, and steps stay positive (Jain et al., "Trained
Quantization Thresholds", 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.graph.view import nodes
from kcompress.layers.plan import QuantPlan, WeightFormat
from kcompress.numerics import affine


@dataclass(frozen=True)
class Steps:
    """Variables t, zero at first: by the id of a weight's variable, and by the name of a point.

    `layer` is a Keras layer that holds them, for a model to train them.
    """

    layer: Any
    weights: Mapping[int, Any]
    points: Mapping[str, Any]

    def formats(self, model: Any, plan: QuantPlan) -> dict[str, WeightFormat]:
        """The formats with the scales that were learned, by qualified name, of as many significant bits as before."""
        found = {}
        for node in nodes(model):
            for weight in node.weights:
                if id(weight.variable) in self.weights:
                    form = plan.weights[node.qualified(weight)]
                    scale = np.asarray(form.scale) * np.exp(_values(self.weights[id(weight.variable)]))
                    scale = affine.short(scale, affine.digits(np.asarray(form.scale))).astype(np.float32)
                    found[node.qualified(weight)] = replace(form, scale=tuple(map(float, scale)))
        return found

    def limits(self, limits: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """The ranges that were learned, by point."""
        factors = {name: float(np.exp(_values(variable))) for name, variable in self.points.items()}
        return {name: (limits[name][0] * factor, limits[name][1] * factor) for name, factor in factors.items()}


def learned(model: Any, plan: QuantPlan, points: Mapping[str, tuple[float, float]]) -> Steps:
    """New steps for the planned weights of a model that can be trained, and for points with these ranges."""
    import keras

    layer = keras.layers.Layer(name="steps")
    weights = {}
    for node in nodes(model):
        for weight in node.weights:
            form = plan.weights.get(node.qualified(weight))
            if form is not None and form.kind == "int" and weight.variable.trainable:
                shape = (len(form.scale),)
                weights[id(weight.variable)] = layer.add_weight(shape=shape, initializer="zeros", name="weight")
    ranged = {
        name: layer.add_weight(shape=(), initializer="zeros", name="point") for name, (low, high) in points.items()
        if high > low
    }  # fmt: skip
    layer.built = True
    return Steps(layer, weights, ranged)


def scaled(scale: Any, variable: Any, digits: int) -> Any:
    """The scales, an array, times exp(t), of so many significant bits; the gradient is that without rounding."""
    from keras import ops

    step = scale * ops.reshape(ops.exp(ops.convert_to_tensor(variable)), np.shape(scale))
    if digits == affine.FULL:
        return step
    power = ops.power(2.0, ops.floor(ops.log(step) / np.log(2.0)) - (digits - 1))
    return step + ops.stop_gradient(ops.round(step / power) * power - step)


def _values(variable: Any) -> NDArray[np.float64]:
    return np.asarray(variable, np.float64)
