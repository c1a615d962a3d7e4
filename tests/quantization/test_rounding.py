"""The gradients of rounding are those that the literature gives, whichever operators compute them."""

import numpy as np
import pytest

from kcompress import backend
from kcompress.model.gradients import gradients
from kcompress.numerics import affine
from kcompress.quantization.rounding import to_grid, to_signs


@pytest.fixture(autouse=True)
def keras():
    return backend.load("tensorflow")


def given(shape, step):
    rng = np.random.default_rng(0)
    values = rng.normal(size=shape).astype(np.float32)
    weights = rng.normal(size=shape).astype(np.float32)
    return values, weights, np.asarray(step, np.float32)


def by_hand(values, weights, step, low, high, levels):
    """Gradients of sum(weights * rounded values), of the values and of the step (Esser et al., 2020)."""
    inside = (values / step >= low) & (values / step <= high)
    of_step = weights * np.where(inside, levels - values / step, levels)
    axes = tuple(axis for axis in range(values.ndim) if not step.ndim or step.shape[axis] == 1)
    return np.where(inside, weights, 0), of_step.sum(axes, keepdims=bool(step.ndim))


ROOM = {"float32": 1e-5, "bfloat16": 0.02}
"""The share of what is summed up by which a sum may be off."""


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-128, 127, "float32"),
        (-7, 7, "float32"),
        (0, 255, "float32"),
        (-32768, 32767, "float32"),
        (-1, 1, "float32"),
        (-7, 7, "bfloat16"),
    ],
)
@pytest.mark.parametrize("channels", [False, True])
def test_values_and_steps_get_their_gradients(low, high, channels, dtype):
    from keras import ops

    size = 2.0 / max(high, -low)
    step = np.linspace(size, size * 1.3, 5).reshape(1, 1, 5) if channels else size
    values, weights, step = given((4, 3, 5), step)

    def loss(arrays):
        rounded = to_grid(ops.cast(arrays[0], dtype), arrays[1], low, high)
        assert rounded.dtype == dtype
        return ops.sum(ops.cast(rounded, "float32") * weights)

    value, found = gradients(loss, [values, step])
    levels = affine.to_levels(values, step, low, high)
    parts = levels * step * weights
    assert abs(value - parts.sum()) <= ROOM[dtype] * np.abs(parts).sum()
    expected = by_hand(values, weights, step, low, high, levels)
    np.testing.assert_allclose(found[0], expected[0], atol=ROOM[dtype])
    np.testing.assert_allclose(found[1], expected[1], atol=ROOM[dtype] * np.abs(weights * levels).sum())


def test_signs_get_the_gradients_of_the_values_within_one_step():
    values, weights, step = given((6, 5), np.full((1, 5), 0.4))
    values[0] = 0.0

    def loss(arrays):
        from keras import ops

        return ops.sum(to_signs(arrays[0], arrays[1]) * weights)

    value, found = gradients(loss, [values, step])
    levels = np.where(values >= 0, 1, -1)
    assert abs(value - (levels * step * weights).sum()) < 1e-4
    for one, other in zip(found, by_hand(values, weights, step, -1, 1, levels), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
