"""Scales that are learned: those of planned weights, and one for the range of each quantized point.

Of a scale s, t is learned, with s = s₀ · exp(t). One learning rate then suits scales of any size, and they stay
positive (Jain et al., "Trained Quantization Thresholds", 2020). All t are one variable: a model has hundreds of scales,
and each variable costs an optimizer time.
"""

import threading
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.model.view import nodes
from kcompress.numerics import affine
from kcompress.quantization.plan import QuantPlan, WeightFormat


@dataclass(frozen=True)
class InitialScale:
    """Scales before training, in a shape that broadcasts against what is scaled, and how many bits are significant."""

    values: NDArray[np.float32]
    digits: int


@dataclass(frozen=True)
class LearnedScales:
    """Scales by what they are for: the id of a weight's variable, or the name of a point.

    `layer` is a Keras layer that holds the variable, zero at first, for a model to train it.
    """

    layer: Any
    _first: Mapping[Hashable, InitialScale]
    _now: threading.local = field(default_factory=threading.local, init=False)
    """Of each thread, since TensorFlow takes turns among threads, one for each device, in the middle of a call."""

    def get(self, key: Hashable) -> Any:
        """The scale as a tensor, in its first shape, within `read`; None where none is learned."""
        return self._now.scales[key] if key in self._first else None

    @contextmanager
    def read(self) -> Iterator[None]:
        """Meanwhile, `get` gives scales. A model enters this in each call, so that the gradient reaches them."""
        from keras import ops

        if not self._first:
            yield
            return
        first = np.concatenate([scale.values.ravel() for scale in self._first.values()])
        digits = np.repeat([scale.digits for scale in self._first.values()], self._counts)
        scales = _short(ops.multiply(first, ops.exp(ops.convert_to_tensor(self._variable))), digits)
        ends = np.cumsum(self._counts)[:-1].tolist()
        pieces = ops.split(scales, ends) if ends else [scales]
        shapes = [scale.values.shape for scale in self._first.values()]
        self._now.scales = dict(zip(self._first, map(ops.reshape, pieces, shapes), strict=True))
        try:
            yield
        finally:
            self._now.scales = {}

    def factors(self) -> dict[Hashable, NDArray[np.float64]]:
        """What each scale was multiplied by, of shape (scales,)."""
        if not self._first:
            return {}
        factors = np.split(np.exp(np.asarray(self._variable, np.float64)), np.cumsum(self._counts)[:-1])
        return dict(zip(self._first, factors, strict=True))

    def formats(self, model: Any, plan: QuantPlan) -> dict[str, WeightFormat]:
        """The formats with the scales that were learned, by qualified name, of as many significant bits as before."""
        found, factors = {}, self.factors()
        for node in nodes(model):
            for weight in node.weights:
                key = id(weight.variable)
                if key in factors:
                    weight_format = plan.weights[node.qualified(weight)]
                    scale = np.asarray(weight_format.scale) * factors[key]
                    scale = affine.short(scale, self._first[key].digits).astype(np.float32)
                    found[node.qualified(weight)] = replace(weight_format, scale=tuple(map(float, scale)))
        return found

    @property
    def _variable(self) -> Any:
        return self.layer.variables[0]

    @property
    def _counts(self) -> list[int]:
        return [scale.values.size for scale in self._first.values()]


def learned_scales(model: Any, plan: QuantPlan, points: Mapping[str, tuple[float, float]]) -> LearnedScales:
    """Scales to learn, for the planned weights that can be trained and for points with these ranges."""
    import keras

    first: dict[Hashable, InitialScale] = {}
    for node in nodes(model):
        for weight in node.weights:
            weight_format = plan.weights.get(node.qualified(weight))
            if weight_format is not None and weight_format.kind == "int" and weight.variable.trainable:
                digits = affine.digits(np.asarray(weight_format.scale))
                first[id(weight.variable)] = InitialScale(weight_format.scales(tuple(weight.variable.shape)), digits)
    for name, (low, high) in points.items():
        if high > low and plan.activations is not None:
            size = affine.span(low, high, plan.activations.bits)[0]
            first[name] = InitialScale(np.asarray(size, np.float32), affine.FULL)
    layer = keras.layers.Layer(name="learned_scales")
    count = sum(scale.values.size for scale in first.values())
    if count:
        layer.add_weight(shape=(count,), initializer="zeros", dtype="float32", autocast=False, name="factors")
    layer.built = True
    return LearnedScales(layer, first)


def _short(scales: Any, digits: NDArray[np.int64]) -> Any:
    """Each scale with so many significant bits; the gradient is that without rounding."""
    from keras import ops

    if (digits == affine.FULL).all():
        return scales
    power = ops.power(2.0, ops.subtract(ops.floor(ops.log2(scales)), (digits - 1).astype(np.float32)))
    short = ops.where(digits == affine.FULL, scales, ops.round(scales / power) * power)
    return scales + ops.stop_gradient(short - scales)
