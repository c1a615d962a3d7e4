import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kcompress.numerics import affine
from kcompress.numerics.packing import pack_levels
from kcompress.numerics.storage import on_float16_grid

kernels = arrays(np.float32, (6, 4), elements=st.floats(-100, 100, width=32))
bits = st.integers(2, 8)


@given(kernels, bits, st.sampled_from([affine.FULL, affine.SHORT, affine.POWER_OF_TWO]))
def test_rounding_is_off_by_half_a_step_at_most_and_keeps_zeros(w, bits, digits):
    top = affine.largest_level(bits)
    scale = affine.scales(np.abs(w).max(0), bits, digits)
    back = affine.from_levels(affine.to_levels(w, scale, -top, top), scale)
    assert np.all(np.abs(back - w) <= scale * (0.5 + 1e-4))  # float32 division and product
    assert not back[w == 0].any()
    assert affine.on_levels(back, scale, -top, top)


@given(kernels, bits)
def test_every_value_on_a_grid_of_short_scales_is_exact_in_float16(w, bits):
    w = np.where(np.abs(w) < 1e-3, 0, w)  # float16 has fewer bits below 6e-5
    top = affine.largest_level(bits)
    scale = affine.scales(np.abs(w).max(0), bits, affine.SHORT)
    assert on_float16_grid(affine.from_levels(affine.to_levels(w, scale, -top, top), scale))
    limit = np.abs(w).max(0)
    assert np.all((scale <= 9 / 8 * limit / top) | (limit == 0))  # 4 significant bits are 1/8 apart or less


@given(kernels, bits)
def test_a_power_of_two_has_no_mantissa(w, bits):
    mantissa, _ = np.frexp(affine.scales(np.abs(w).max(0), bits, affine.POWER_OF_TWO))
    assert set(mantissa.tolist()) <= {0.5}


def test_a_value_between_levels_or_beyond_them_is_not_on_them():
    scale = np.float32(0.5)
    assert affine.on_levels(np.array([-3.5, 0, 3.5], np.float32), scale, -7, 7)
    assert not affine.on_levels(np.array([0.6], np.float32), scale, -7, 7)
    assert not affine.on_levels(np.array([4.0], np.float32), scale, -7, 7)


@given(st.floats(-100, 0, width=32), st.floats(0, 100, width=32))
def test_a_range_around_zero_is_reached_to_half_a_step_and_holds_zero(low, high):
    scale, zero = affine.asymmetric(low, high, 256)
    assert 0 <= zero <= 255
    assert -zero * scale <= low + scale * 0.501  # the zero point is rounded to a level
    assert (255 - zero) * scale >= high - scale * 0.501


@given(arrays(np.int32, st.integers(1, 9), elements=st.integers(-8, 7)))
def test_four_bits_come_back_from_the_bytes(levels):
    packed = pack_levels(levels, 4)
    assert packed.size == (levels.size + 1) // 2
    halves = np.stack([packed & 15, packed >> 4], 1).ravel()[: levels.size].astype(int)
    np.testing.assert_array_equal(np.where(halves > 7, halves - 16, halves), levels)


@pytest.mark.parametrize(("axes", "shape"), [((), (1, 1, 1)), ((1,), (1, 3, 1)), ((0, -1), (2, 1, 4))])
def test_scales_lie_along_their_axes(axes, shape):
    assert affine.along(np.ones(int(np.prod(shape))), axes, (2, 3, 4)).shape == shape
