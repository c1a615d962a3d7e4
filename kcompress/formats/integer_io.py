"""Inputs and outputs of a file that are integers in place of floats: x = (q - zero) · scale."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.numerics import affine

Edge = tuple[float, int]
"""Scale and zero point."""


def to_type(values: NDArray[Any], dtype: Any, edge: Edge | None) -> NDArray[Any]:
    """Values in an input's type; an integer in place of a float gets the whole numbers that stand for them.

    Values of an integer type are no exception: they are what the float model would get, such as pixels from 0 to 255.
    """
    if edge is None:
        return np.asarray(values, dtype)
    scale, zero = edge
    limits = np.iinfo(dtype)
    levels = affine.to_levels(np.asarray(values), np.asarray(scale), limits.min - zero, limits.max - zero)
    return (levels + zero).astype(dtype)


def to_float(values: NDArray[Any], edge: Edge | None) -> NDArray[Any]:
    """The values that an integer output stands for; any other as it is."""
    return values if edge is None else affine.from_levels(values.astype(np.int32) - edge[1], np.asarray(edge[0]))
