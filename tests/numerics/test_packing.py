"""Packed levels come back as they were, lowest bits first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kcompress.numerics.affine import largest_level
from kcompress.numerics.packing import least_bits, pack_levels, unpacking_table


def unpacked(data, bits, count):
    """Levels as runtimes read them, from the binary digits of the bytes."""
    digits = np.unpackbits(data, bitorder="little").reshape(-1, bits)
    values = (digits.astype(int) * 2 ** np.arange(bits)).sum(1)[:count]
    return np.where(values >= 2 ** (bits - 1), values - 2**bits, values)


@pytest.mark.parametrize("bits", [2, 4, 8])
@given(data=st.data(), count=st.integers(0, 19))
def test_levels_survive_packing(bits, data, count):
    top = largest_level(bits)
    levels = data.draw(arrays(np.int32, count, elements=st.integers(-top - 1, top)))
    packed = pack_levels(levels, bits)
    assert len(packed) == -(-count * bits // 8)
    assert unpacked(packed, bits, count).tolist() == levels.tolist()


@pytest.mark.parametrize(("top", "bits"), [(0, 2), (1, 2), (2, 4), (7, 4), (8, 8), (127, 8)])
def test_the_least_bits_hold_the_largest_level_of_either_sign(top, bits):
    assert {least_bits(np.array([0, sign * top], np.int8)) for sign in (1, -1)} == {bits}
    assert least_bits(np.zeros(0, np.int8)) == 2


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_table_undoes_the_packing(bits, count):
    random = np.random.default_rng(count)
    top = max(1, 2 ** (bits - 1) - 1)
    levels = random.choice([-1, 1], count) if bits == 1 else random.integers(-top, top + 1, count)
    packed = pack_levels(levels, bits)
    assert packed.nbytes == -(-count * bits // 8)
    np.testing.assert_array_equal(unpacking_table(bits)[packed].ravel()[:count], levels)
