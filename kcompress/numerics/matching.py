"""Recognize a model's weights among a file's tensors by content, since converters rename, transpose and reshape.

Three tests are tried in turn; for none does the order of elements inside a channel matter.

1. Equal sums over the bit patterns of all elements (mod 2^64): a transposed or reshaped copy.
2. Equal Σ|w| / √Σw² and max|w| / √Σw² of the channels, sorted: a copy with a factor per channel, as where a batch
   normalization was folded into it.
3. The weight, or every slice of it along one of its axes, is among the slices of the tensor, at least as often: several
   weights in one tensor, as in ONNX's LSTM.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-5  # these are quotients of float32 sums; two different trained kernels differ by far more somewhere


@dataclass(frozen=True)
class Wanted:
    """A weight to find: its values and the axes that hold its output channels."""

    values: NDArray[Any]
    output_axes: tuple[int, ...]


def exact_key(values: NDArray[Any]) -> tuple[int, int, int]:
    """Size, sum and mixed sum of the bit patterns; equal for any reordering of the same float32 values."""
    return slice_keys(values.reshape(1, -1))[0]


def slice_keys(rows: NDArray[Any]) -> list[tuple[int, int, int]]:
    """The exact key of every row of a matrix."""
    bits = np.ascontiguousarray(rows, np.float32).view(np.uint32).astype(np.uint64)
    mixed = (bits * np.uint64(0x9E3779B97F4A7C15)) ^ (bits >> np.uint64(13))
    sums, mixes = bits.sum(axis=1).tolist(), (mixed * mixed).sum(axis=1).tolist()
    return [(rows.shape[1], a, b) for a, b in zip(sums, mixes, strict=True)]


def channel_ratios(values: NDArray[Any], axes: tuple[int, ...]) -> NDArray[np.float64]:
    """Σ|w| / √Σw² of every channel along `axes`, sorted, then max|w| / √Σw² likewise; zero for a channel of zeros.

    Shape (2, channels).
    """
    kept = tuple(axis % values.ndim for axis in axes)
    rest = tuple(axis for axis in range(values.ndim) if axis not in kept)
    absolute = np.abs(values.astype(np.float64))
    norms = np.sqrt((absolute**2).sum(rest))
    sizes = np.stack([absolute.sum(rest), absolute.max(rest, initial=0)])
    ratios = np.divide(sizes, norms, out=np.zeros_like(sizes), where=norms > 0)
    return np.sort(ratios.reshape(2, -1))


def match(tensors: Mapping[str, NDArray[Any]], wanted: Mapping[str, Wanted]) -> dict[str, tuple[str, ...]]:
    """Map each float32 tensor's name to the names of the weights that it holds; tensors that hold none are left out.

    Several tensors may hold the same weight, as converters copy. A tensor holds all weights that have equal values. A
    weight may be missing: compare the values of the result with `wanted` to see which.
    """
    tensors = {name: values for name, values in tensors.items() if values.dtype == np.float32}
    by_key: dict[tuple[int, int, int], tuple[str, ...]] = {}
    for name, weight in wanted.items():
        key = exact_key(weight.values)
        by_key[key] = (*by_key.get(key, ()), name)
    found: dict[str, tuple[str, ...]] = {}
    for tensor, values in tensors.items():
        if names := by_key.get(exact_key(values)):
            found[tensor] = names
    for look in (_scaled, _contained):
        missing = {n: w for n, w in wanted.items() if not any(n in names for names in found.values())}
        if missing:
            found.update(look({t: v for t, v in tensors.items() if t not in found}, missing))
    return found


def _scaled(tensors: Mapping[str, NDArray[Any]], wanted: Mapping[str, Wanted]) -> dict[str, tuple[str, ...]]:
    by_size: dict[int, list[tuple[str, NDArray[np.float64]]]] = {}
    for name, weight in wanted.items():
        ratios = channel_ratios(weight.values, weight.output_axes)
        if ratios[0].max(initial=0) > 1 + TOLERANCE:  # a channel of one weight has the ratio 1, whatever the weight
            by_size.setdefault(weight.values.size, []).append((name, ratios))
    found: dict[str, tuple[str, ...]] = {}
    for tensor, values in tensors.items():
        own = [channel_ratios(values, (axis,)) for axis in range(values.ndim if values.size in by_size else 0)]
        names = tuple(name for name, ratios in by_size.get(values.size, []) if any(_close(r, ratios) for r in own))
        if names:
            found[tensor] = names
    return found


def _close(ratios: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    return ratios.size == others.size and np.allclose(ratios, others, rtol=TOLERANCE, atol=0)


def _contained(tensors: Mapping[str, NDArray[Any]], wanted: Mapping[str, Wanted]) -> dict[str, tuple[str, ...]]:
    slices = {name: list(_slices(weight.values)) for name, weight in wanted.items() if weight.values.any()}
    found = {}
    for tensor, values in tensors.items():
        smaller = [name for name in slices if 1 < wanted[name].values.size < values.size]
        if not smaller:
            continue
        sizes = {size for name in smaller for size, _ in slices[name]}
        inside = [(size, keys) for size in sizes for keys in _rows_of_size(values, size)]
        names = tuple(n for n in smaller if any(a == b and own <= keys for a, own in slices[n] for b, keys in inside))
        if names:
            found[tensor] = names
    return found


def _slices(values: NDArray[Any]) -> Iterator[tuple[int, Counter[tuple[int, int, int]]]]:
    """Size and keys of the weight itself and of its slices along each axis; not of single elements."""
    yield values.size, Counter(slice_keys(values.reshape(1, -1)))
    for axis, length in enumerate(values.shape):
        rows = np.moveaxis(values, axis, 0).reshape(length, -1)
        if 1 < rows.shape[1] < values.size:
            yield rows.shape[1], Counter(slice_keys(rows))


def _rows_of_size(values: NDArray[Any], size: int) -> Iterator[Counter[tuple[int, int, int]]]:
    """Keys of a tensor's slices of `size` elements, for every choice of axes that gives such slices."""
    axes = range(values.ndim)
    for count in axes:
        for outer in combinations(axes, count + 1):
            inner = [axis for axis in axes if axis not in outer]
            if math.prod(values.shape[axis] for axis in inner) == size:
                yield Counter(slice_keys(values.transpose(*outer, *inner).reshape(-1, size)))
