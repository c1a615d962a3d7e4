"""Integers of few bits packed into bytes, and the table that unpacks them.

The layout is that of TFLite and ONNX for 4 bits, continued to fewer bits: two's complement, the first number of a byte
in its lowest bits. A single bit stands for -1 (0) or 1 (1).
"""

import numpy as np
from numpy.typing import NDArray

from kcompress.numerics.affine import largest_level


def pack_levels(levels: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """Integers as bytes, in C order, 8 / `bits` in each; `bits` is 8, 4, 2 or 1.

    >>> pack_levels(np.array([1, -1, 7]), 4).tolist(), pack_levels(np.array([1, -1, 0, 1, -1]), 2).tolist()
    ([241, 7], [77, 3])
    """
    flat = levels.ravel().astype(np.int8)
    if bits == 8:
        return flat.view(np.uint8)
    fields = (flat > 0 if bits == 1 else flat).astype(np.uint8) & ((1 << bits) - 1)
    count = 8 // bits
    fields = np.pad(fields, (0, -fields.size % count)).reshape(-1, count)
    return np.asarray(np.bitwise_or.reduce(fields << np.arange(0, 8, bits, dtype=np.uint8), axis=1), np.uint8)


def least_bits(levels: NDArray[np.integer]) -> int:
    """The fewest of 2, 4 and 8 bits whose symmetric levels include all of these.

    >>> [least_bits(np.array([0, -top])) for top in (1, 2, 7, 8)]
    [2, 4, 4, 8]
    """
    top = int(np.abs(levels.astype(np.int32)).max(initial=0))
    return next((bits for bits in (2, 4) if top <= largest_level(bits)), 8)


def unpacking_table(bits: int) -> NDArray[np.int8]:
    """For every byte the integers packed into it: shape (256, 8 / `bits`).

    >>> unpacking_table(2)[77].tolist(), unpacking_table(1)[5].tolist()
    ([1, -1, 0, 1], [1, -1, 1, -1, -1, -1, -1, -1])
    """
    fields = (np.arange(256)[:, None] >> np.arange(0, 8, bits)) & ((1 << bits) - 1)
    if bits == 1:
        return np.asarray(2 * fields - 1, np.int8)
    return np.asarray(np.where(fields >= 1 << (bits - 1), fields - (1 << bits), fields), np.int8)
