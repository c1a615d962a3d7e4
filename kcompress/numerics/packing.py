"""Whole numbers of few bits packed into bytes, in the layout that TFLite and ONNX share: the lower half comes first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack_levels(levels: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Whole numbers in two's complement as bytes, in C order: one in each for 8 bits, two for 4.

    >>> pack_levels(np.array([1, -1, 7]), 4).tolist()
    [241, 7]
    """
    flat = levels.ravel().astype(np.int8)
    if bits == 8:
        return flat.view(np.uint8)
    pairs = np.pad(flat, (0, flat.size % 2)).reshape(-1, 2).astype(np.uint8) & 0x0F
    return np.asarray(pairs[:, 0] | (pairs[:, 1] << 4), np.uint8)
