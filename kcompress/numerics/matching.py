"""Recognize a model's weights among a file's tensors by content, since converters rename, transpose and reshape.

Three keys, all blind to the order of elements inside a channel. The exact one is a pair of sums over the bit patterns
of all elements (mod 2^64): equal for a transposed or reshaped copy. The next survives a factor per channel, which is
what a converter leaves when it folds a batch normalization: r_c = Σ|w| / √Σw² over channel c, as a sorted vector. The
last is containment, for several weights in one tensor, as in ONNX's LSTM: every value of the weight occurs there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-5  # r_c is a quotient of float32 sums; two different trained kernels differ by far more somewhere


@dataclass(frozen=True)
class Wanted:
    """A weight to find: its values and the axes that hold its output channels."""

    values: NDArray[Any]
    output_axes: tuple[int, ...]


def exact_key(values: NDArray[Any]) -> tuple[int, int, int]:
    """Size, sum and mixed sum of the bit patterns; equal for any reordering of the same float32 values."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64).ravel()
    mixed = (bits * np.uint64(0x9E3779B97F4A7C15)) ^ (bits >> np.uint64(13))
    return values.size, int(bits.sum()), int((mixed * mixed).sum())


def channel_ratios(values: NDArray[Any], axes: tuple[int, ...]) -> NDArray[np.float64]:
    """r_c for every channel along `axes`, sorted; zero for a channel of zeros."""
    kept = tuple(axis % values.ndim for axis in axes)
    rest = tuple(axis for axis in range(values.ndim) if axis not in kept)
    absolute = np.abs(values.astype(np.float64))
    norms = np.sqrt((absolute**2).sum(rest))
    ratios = np.divide(absolute.sum(rest), norms, out=np.zeros_like(norms), where=norms > 0)
    return np.sort(ratios.ravel())


def match(tensors: Mapping[str, NDArray[Any]], wanted: Mapping[str, Wanted]) -> dict[str, tuple[str, ...]]:
    """Map each float32 tensor's name to the names of the weights that it holds; tensors that hold none are left out.

    Several tensors may hold the same weight (converters copy), and a weight may be missing: compare the values of
    the result with `wanted` to see which.
    """
    tensors = {name: values for name, values in tensors.items() if values.dtype == np.float32}
    by_key = {exact_key(weight.values): name for name, weight in wanted.items()}
    found: dict[str, tuple[str, ...]] = {}
    for tensor, values in tensors.items():
        if (name := by_key.get(exact_key(values))) is not None:
            found[tensor] = (name,)
    for key in (_scaled, _contained):
        missing = {n: w for n, w in wanted.items() if not any(n in names for names in found.values())}
        if missing:
            found.update(key({t: v for t, v in tensors.items() if t not in found}, missing))
    return found


def _scaled(tensors: Mapping[str, NDArray[Any]], wanted: Mapping[str, Wanted]) -> dict[str, tuple[str, ...]]:
    by_size: dict[int, list[tuple[str, NDArray[np.float64]]]] = {}
    for name, weight in wanted.items():
        ratios = channel_ratios(weight.values, weight.output_axes)
        by_size.setdefault(weight.values.size, []).append((name, ratios))
    found: dict[str, tuple[str, ...]] = {}
    for tensor, values in tensors.items():
        own = {axis: channel_ratios(values, (axis,)) for axis in range(values.ndim if values.size in by_size else 0)}
        for name, ratios in by_size.get(values.size, []):
            if any(r.size == ratios.size and np.allclose(r, ratios, rtol=TOLERANCE, atol=0) for r in own.values()):
                found[tensor] = (name,)
                break
    return found


def _contained(tensors: Mapping[str, NDArray[Any]], wanted: Mapping[str, Wanted]) -> dict[str, tuple[str, ...]]:
    distinct = {name: np.unique(weight.values) for name, weight in wanted.items()}
    found = {}
    for tensor, values in tensors.items():
        smaller = {n: d for n, d in distinct.items() if 1 < wanted[n].values.size < values.size}
        if smaller and values.ndim >= 2:
            inside = np.unique(values)
            names = tuple(n for n, d in smaller.items() if np.isin(d, inside, assume_unique=True).all())
            if names:
                found[tensor] = names
    return found
