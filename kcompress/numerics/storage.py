"""The smallest type that holds an array exactly.

float16 has 11 significant bits and reaches 65504; an array is on its grid if a cast to float16 and back changes
nothing. The upper byte of a float16 whose lower byte is zero is a float of 8 bits with 3 significant bits (E5M2).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT16_MAX = float(np.finfo(np.float16).max)


def to_float16_grid(weights: NDArray[Any]) -> NDArray[Any]:
    """Round to the nearest float16 value, ties to even; the dtype is unchanged.

    >>> float(to_float16_grid(np.array([0.1], np.float32))[0])
    0.0999755859375
    """
    return weights.astype(np.float16).astype(weights.dtype)


def on_float16_grid(weights: NDArray[Any]) -> bool:
    """Whether float16 holds every value exactly."""
    if weights.size and float(np.abs(weights).max()) > FLOAT16_MAX:
        return False
    return bool(np.array_equal(to_float16_grid(weights), weights))


def on_float8_grid(weights: NDArray[Any]) -> bool:
    """Whether the upper bytes of float16 hold every value exactly.

    >>> on_float8_grid(np.float32([7, -0.75, 0])), on_float8_grid(np.float32([9]))
    (True, False)
    """
    return on_float16_grid(weights) and not (weights.astype(np.float16).view(np.uint16) & 0xFF).any()
