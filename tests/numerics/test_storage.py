"""The float16 grid: rounding lands on it, stays on it, and says what is not on it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kcompress.numerics.storage import FLOAT16_MAX, on_float16_grid, to_float16_grid

values = arrays(np.float32, st.integers(0, 30), elements=st.floats(-60000, 60000, width=32))


@given(values)
def test_rounding_lands_on_the_grid_and_within_half_a_step(w):
    rounded = to_float16_grid(w)
    assert rounded.dtype == w.dtype
    assert on_float16_grid(rounded)
    np.testing.assert_allclose(rounded, w, rtol=2.0**-11, atol=2.0**-25)  # 11 significant bits; smallest step 2^-24


@given(values)
def test_rounding_twice_changes_nothing_more_and_zeros_stay(w):
    rounded = to_float16_grid(w)
    np.testing.assert_array_equal(to_float16_grid(rounded), rounded)
    assert (rounded[w == 0] == 0).all()


@given(arrays(np.float16, st.integers(1, 30), elements=st.floats(allow_nan=False, allow_infinity=False, width=16)))
def test_every_float16_is_on_the_grid(half):
    assert on_float16_grid(half.astype(np.float32))
    np.testing.assert_array_equal(to_float16_grid(half.astype(np.float32)), half)


@given(st.floats(2.0**-14, 60000, width=16), st.sampled_from([-1, 1]))
def test_a_value_between_two_float16_is_not_on_the_grid(half, sign):
    between = np.float32(sign * half) * np.float32(1 + 2.0**-13)  # a quarter of the step, or an eighth
    assert not on_float16_grid(np.array([0.0, between], np.float32))


def test_halfway_goes_to_the_even_neighbour():
    assert to_float16_grid(np.array([1 + 2.0**-11, 1 + 3 * 2.0**-11], np.float32)).tolist() == [1.0, 1 + 2.0**-9]


@pytest.mark.parametrize("beyond", [FLOAT16_MAX * 1.001, 1e6, -1e6, np.inf])
def test_what_float16_cannot_reach_is_not_on_the_grid(beyond):
    assert not on_float16_grid(np.array([0.5, beyond], np.float32))
    assert on_float16_grid(np.array([0.5, FLOAT16_MAX, -FLOAT16_MAX], np.float32))
