"""Rounding to a grid whose step is learned, in the tensors of a backend, with gradients through it.

ŵ = round(clip(w / s, low, high)) · s: values inside the range get the gradient of ŵ, those outside none (Bengio,
Léonard and Courville, 2013), and dŵ/ds is round(w / s) − w / s inside, `low` or `high` outside (Esser et al., "Learned
Step Size Quantization", 2020).
"""

from collections.abc import Callable
from typing import Any


def to_grid(value: Any, scale: Any, low: int, high: int) -> Any:
    """Each value, of shape (...) and float dtype, at the nearest whole number of steps between `low` and `high`.

    `scale` is a float32 tensor that broadcasts against the values. Ties go to the even number, or up where TensorFlow's
    fused operators are used.
    """
    from keras import backend, ops

    if backend.backend() == "tensorflow" and not scale.ndim and value.dtype == "float32":
        return _fused(value, scale, low, high)
    return _rounded(value, scale, low, high, lambda levels: ops.clip(ops.round(levels), low, high))


def to_signs(value: Any, scale: Any) -> Any:
    """-1 or 1 steps, for there is no 0 in one bit (Courbariaux, Hubara, Soudry, El-Yaniv and Bengio, 2016)."""
    from keras import ops

    return _rounded(value, scale, -1, 1, lambda levels: ops.where(levels >= 0, 1.0, -1.0))


def _rounded(value: Any, scale: Any, low: int, high: int, rounding: Callable[[Any], Any]) -> Any:
    from keras import ops

    def forward(value: Any, scale: Any) -> Any:
        scale = ops.cast(scale, value.dtype)
        return ops.cast(rounding(value / scale), value.dtype) * scale

    def inward(upstream: Any, value: Any, scale: Any) -> Any:
        levels = value / ops.cast(scale, value.dtype)
        return ops.where(ops.logical_and(levels >= low, levels <= high), upstream, ops.zeros_like(upstream))

    return _learned(value, scale, forward, inward)


def _fused(value: Any, scale: Any, low: int, high: int) -> Any:
    """One pass over the values each way, by the operators that TensorFlow has for that."""
    import tensorflow as tf

    levels = {"num_bits": (high - low).bit_length(), "narrow_range": (high - low) % 2 == 0}

    def forward(value: Any, scale: Any) -> Any:
        return tf.quantization.fake_quant_with_min_max_vars(value, low * scale, high * scale, **levels)

    def inward(upstream: Any, value: Any, scale: Any) -> Any:
        ends = {"input_min": low * scale, "input_max": high * scale}
        return tf.raw_ops.QuantizeAndDequantizeV4Grad(gradients=upstream, input=value, **ends).input_backprop

    return _learned(value, scale, forward, inward)


def _learned(value: Any, scale: Any, forward: Callable[..., Any], inward: Callable[..., Any]) -> Any:
    """`inward` gives the gradient of the values. That of the step is (upstream · ŵ − inward · w) / s, summed up."""
    from keras import ops

    def through(value: Any, scale: Any) -> Any:
        result = forward(value, scale)

        def gradients(*given: Any, upstream: Any = None) -> tuple[Any, Any]:
            upstream = given[0] if upstream is None else upstream
            inside = inward(upstream, value, scale)
            return inside, _total(_product(upstream, result) - _product(inside, value), scale) / scale

        return result, gradients

    return ops.custom_gradient(through)(value, scale)


def _product(one: Any, other: Any) -> Any:
    from keras import ops

    return ops.multiply(ops.cast(one, "float32"), ops.cast(other, "float32"))


def _total(values: Any, scale: Any) -> Any:
    """Sums of the values that each step is for."""
    from keras import ops

    if not scale.ndim:
        return ops.sum(values)
    return ops.sum(values, axis=[axis for axis, size in enumerate(scale.shape) if size == 1], keepdims=True)
