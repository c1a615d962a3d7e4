"""Whole numbers packed into bytes come back, whichever number of them there is."""

import numpy as np
import pytest

from kcompress.numerics.packing import pack_levels, unpacking_table


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_table_undoes_the_packing(bits, count):
    random = np.random.default_rng(count)
    top = max(1, 2 ** (bits - 1) - 1)
    levels = random.choice([-1, 1], count) if bits == 1 else random.integers(-top, top + 1, count)
    packed = pack_levels(levels, bits)
    assert packed.nbytes == -(-count * bits // 8)
    np.testing.assert_array_equal(unpacking_table(bits)[packed].ravel()[:count], levels)
