"""Step sizes that are learned: one for each scale of a planned weight, and for the range of each quantized point.

What is learned of a step s is t in s = s₀ · exp(t): one learning rate then suits steps of any size, and steps stay
positive (Jain et al., "Trained Quantization Thresholds", 2020). All t are one variable: a model has hundreds of steps,
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
class Step:
    """Step sizes at first, in the shape that broadcasts against the values, and how many significant bits they keep."""

    sizes: NDArray[np.float32]
    digits: int


@dataclass(frozen=True)
class Steps:
    """Steps by what they are for: the id of a weight's variable, or the name of a point.

    `layer` is a Keras layer that holds the variable, zero at first, for a model to train it.
    """

    layer: Any
    _first: Mapping[Hashable, Step]
    _now: threading.local = field(default_factory=threading.local, init=False)
    """Of each thread, since TensorFlow takes turns among threads, one for each device, in the middle of a call."""

    def get(self, key: Hashable) -> Any:
        """The step as a tensor, of the shape that it had at first, while `read`; None where none is learned."""
        return self._now.steps[key] if key in self._first else None

    @contextmanager
    def read(self) -> Iterator[None]:
        """Meanwhile, steps can be had: a model calls this in each of its calls, so that the gradient reaches them."""
        from keras import ops

        if not self._first:
            yield
            return
        first = np.concatenate([step.sizes.ravel() for step in self._first.values()])
        digits = np.repeat([step.digits for step in self._first.values()], self._counts)
        steps = _short(ops.multiply(first, ops.exp(ops.convert_to_tensor(self._variable))), digits)
        ends = np.cumsum(self._counts)[:-1].tolist()
        pieces = ops.split(steps, ends) if ends else [steps]
        shapes = [step.sizes.shape for step in self._first.values()]
        self._now.steps = dict(zip(self._first, map(ops.reshape, pieces, shapes), strict=True))
        try:
            yield
        finally:
            self._now.steps = {}

    def factors(self) -> dict[Hashable, NDArray[np.float64]]:
        """By what the steps were multiplied, each of shape (steps,)."""
        if not self._first:
            return {}
        learned = np.split(np.exp(np.asarray(self._variable, np.float64)), np.cumsum(self._counts)[:-1])
        return dict(zip(self._first, learned, strict=True))

    def formats(self, model: Any, plan: QuantPlan) -> dict[str, WeightFormat]:
        """The formats with the scales that were learned, by qualified name, of as many significant bits as before."""
        found, factors = {}, self.factors()
        for node in nodes(model):
            for weight in node.weights:
                key = id(weight.variable)
                if key in factors:
                    form = plan.weights[node.qualified(weight)]
                    scale = np.asarray(form.scale) * factors[key]
                    scale = affine.short(scale, self._first[key].digits).astype(np.float32)
                    found[node.qualified(weight)] = replace(form, scale=tuple(map(float, scale)))
        return found

    @property
    def _variable(self) -> Any:
        return self.layer.variables[0]

    @property
    def _counts(self) -> list[int]:
        return [step.sizes.size for step in self._first.values()]


def learned(model: Any, plan: QuantPlan, points: Mapping[str, tuple[float, float]]) -> Steps:
    """New steps for the planned weights of a model that can be trained, and for points with these ranges."""
    import keras

    first: dict[Hashable, Step] = {}
    for node in nodes(model):
        for weight in node.weights:
            form = plan.weights.get(node.qualified(weight))
            if form is not None and form.kind == "int" and weight.variable.trainable:
                digits = affine.digits(np.asarray(form.scale))
                first[id(weight.variable)] = Step(form.scales(tuple(weight.variable.shape)), digits)
    for name, (low, high) in points.items():
        if high > low and plan.activations is not None:
            size = affine.span(low, high, plan.activations.bits)[0]
            first[name] = Step(np.asarray(size, np.float32), affine.FULL)
    layer = keras.layers.Layer(name="steps")
    count = sum(step.sizes.size for step in first.values())
    if count:
        layer.add_weight(shape=(count,), initializer="zeros", dtype="float32", autocast=False, name="factors")
    layer.built = True
    return Steps(layer, first)


def _short(steps: Any, digits: NDArray[np.int64]) -> Any:
    """Each of the steps with so many significant bits; the gradient is that without rounding."""
    from keras import ops

    if (digits == affine.FULL).all():
        return steps
    power = ops.power(2.0, ops.subtract(ops.floor(ops.log2(steps)), (digits - 1).astype(np.float32)))
    short = ops.where(digits == affine.FULL, steps, ops.round(steps / power) * power)
    return steps + ops.stop_gradient(short - steps)
