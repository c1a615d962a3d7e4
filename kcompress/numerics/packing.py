"""Whole numbers of few bits packed into bytes, in the layout that TFLite and ONNX share: the lowest bits come first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.numerics.affine import largest_level


def pack_levels(levels: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Whole numbers in two's complement as bytes, in C order: one in each for 8 bits, two for 4, four for 2.

    >>> pack_levels(np.array([1, -1, 7]), 4).tolist()
    [241, 7]
    """
    flat = levels.ravel().astype(np.int8)
    if bits == 8:
        return flat.view(np.uint8)
    each = 8 // bits
    fields = np.pad(flat, (0, -flat.size % each)).reshape(-1, each).astype(np.uint8) & ((1 << bits) - 1)
    return np.asarray(np.bitwise_or.reduce(fields << np.arange(0, 8, bits, dtype=np.uint8), axis=1), np.uint8)


def least_bits(levels: NDArray[Any]) -> int:
    """The least of 2, 4 and 8 bits whose symmetric levels hold all of these, which are within those of 8 bits.

    >>> [least_bits(np.array([0, -top])) for top in (1, 2, 7, 8)]
    [2, 4, 4, 8]
    """
    top = int(np.abs(levels.astype(np.int32)).max(initial=0))
    return next((bits for bits in (2, 4) if top <= largest_level(bits)), 8)
