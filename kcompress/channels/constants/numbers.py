"""The numbers that some positions of a tensor hold for every input of the model.

They are an array of the tensor's rank, with NaN where the tensor varies or may vary. An axis of length 1 stands for an
axis of any length along which everything is the same. The batch axis is always of length 1.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.model.flow import Shape

Numbers = NDArray[np.float64]


def varying(rank: int) -> Numbers:
    """Nothing is known."""
    return np.full((1,) * rank, np.nan)


def along(numbers: Numbers, axis: int, size: int) -> Numbers:
    """The number at each position of one axis; NaN where it is not the same along all other axes."""
    rows = np.moveaxis(numbers, axis, 0).reshape(numbers.shape[axis], -1)
    first = np.where((rows == rows[:, :1]).all(axis=1), rows[:, 0], np.nan)
    return np.broadcast_to(first, (size,))


def at(rank: int, axis: int, values: NDArray[Any]) -> NDArray[Any]:
    """The values along one axis of an array of this rank, whose other axes have length 1."""
    shape = [1] * rank
    shape[axis] = len(values)
    return values.reshape(shape)


def spread(numbers: Numbers, shape: Shape, axes: Iterable[int]) -> Numbers:
    """The numbers with these axes as long as in the tensor; axes of unknown length are left alone."""
    wanted = list(numbers.shape)
    for axis in axes:
        wanted[axis] = shape[axis] or wanted[axis]
    return np.broadcast_to(numbers, wanted)


def compact(numbers: Numbers) -> Numbers:
    """The numbers with every axis shortened to length 1 along which everything is the same."""
    for axis in range(numbers.ndim):
        first = numbers.take([0], axis)
        if numbers.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, numbers.shape), numbers, equal_nan=True):
            numbers = first
    return numbers
