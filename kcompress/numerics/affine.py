"""Uniform quantization: w ≈ q · s with whole numbers q between `low` and `high`.

`s` is one number or one per channel. Symmetric levels reach from -L to L, L = 2^(bits - 1) - 1. Weights stored as
floats compress well if the scale has few significant bits, as the low bits of their mantissas are then zero. With 4
significant bits, float16 holds every q · s of 8 bits exactly. With 1, the scale is a power of two: s = 2^-p and
q = round(w · 2^p).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

TINY = float(np.finfo(np.float32).tiny)
FULL, SHORT, POWER_OF_TWO = 24, 4, 1
"""Significant bits of a scale: those of float32, and fewer."""
TOLERANCE = 1e-3  # how far from a whole number q may lie, in levels; float32 products of 2^8 levels are off by 1e-5


def largest_level(bits: int) -> int:
    """L of symmetric levels: 127 for 8 bits, 7 for 4, 1 for 2."""
    return (1 << (bits - 1)) - 1


def scales(limits: NDArray[Any], bits: int, digits: int = FULL) -> NDArray[np.float32]:
    """Scales for which the largest level is about `limits`, the largest magnitudes to represent; 1 where a limit is 0.

    A scale has `digits` significant bits. It is the nearest such number to limit / L that is at least limit / (L +
    1/2), so that every magnitude up to the limit is rounded by at most half a scale.

    >>> [scales(np.array([12.7, 0.0]), 8, digits).tolist() for digits in (FULL, SHORT, POWER_OF_TWO)]
    [[0.10000000149011612, 1.0], [0.1015625, 1.0], [0.125, 1.0]]
    """
    top = largest_level(bits)
    limits = np.maximum(np.asarray(limits, np.float64), 0)
    nearest, least = short(limits / top, digits), short(limits / (top + 0.5), digits, np.ceil)
    return np.where(limits > 0, np.maximum(np.maximum(nearest, least), TINY), 1.0).astype(np.float32)


def short(values: NDArray[Any], digits: int, rounding: Any = np.rint) -> NDArray[Any]:
    """The values rounded to so many significant bits.

    >>> short(np.array([0.1, 3.0]), SHORT).tolist(), short(np.array([0.1, 3.0]), POWER_OF_TWO).tolist()
    ([0.1015625, 3.0], [0.125, 4.0])
    """
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(rounding(np.ldexp(mantissa, digits)), exponent - digits))


def digits(scale: NDArray[Any]) -> int:
    """The fewest of 1, 4 and 24 significant bits with which all these scales are exact.

    >>> [digits(np.array(values, np.float32)) for values in ([0.5, 4], [0.6875, 4], [0.1])]
    [1, 4, 24]
    """
    return next(
        bits for bits in (POWER_OF_TWO, SHORT, FULL) if bits == FULL or np.array_equal(short(scale, bits), scale)
    )


def asymmetric(low: float, high: float, levels: int) -> tuple[np.float32, int]:
    """Scale and zero point, in [0, levels), with which the levels from 0 on cover a range that contains 0.

    >>> asymmetric(-1.0, 3.0, 256)[1], asymmetric(0.0, 0.0, 256)
    (64, (np.float32(1.0), 0))
    """
    scale = np.float32(max((high - low) / (levels - 1), TINY) if high > low else 1.0)
    return scale, int(np.clip(np.rint(-low / scale), 0, levels - 1))


def span(low: float, high: float, bits: int) -> tuple[np.float32, int, int]:
    """Scale, least and largest of 2^bits levels that cover a range around 0; 16 bits are symmetric, as in LiteRT.

    >>> span(-1.0, 3.0, 8)[1:], span(-1.0, 3.0, 16)[1:]
    ((-64, 191), (-32768, 32767))
    """
    if bits == 16:
        return np.float32(max(-low, high, TINY) / 32767), -32768, 32767
    scale, zero = asymmetric(low, high, 1 << bits)
    return scale, -zero, (1 << bits) - 1 - zero


def to_levels(values: NDArray[Any], scale: NDArray[Any], low: int, high: int) -> NDArray[np.int32]:
    """The nearest levels, ties to even; `scale` broadcasts against `values`."""
    return np.asarray(np.clip(np.rint(values.astype(np.float64) / scale), low, high), np.int32)


def from_levels(levels: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.float32]:
    """q · s in float32, as every runtime computes it."""
    return np.asarray(levels, np.float32) * np.asarray(scale, np.float32)


def on_levels(values: NDArray[Any], scale: NDArray[Any], low: int, high: int) -> bool:
    """Whether every value is q · s up to float32 rounding, for a q between `low` and `high`."""
    q = values.astype(np.float64) / scale
    near = np.rint(q)
    return bool(np.all(np.abs(q - near) <= TOLERANCE) and np.all((near >= low) & (near <= high)))


def to_rows(values: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """One row per position of `axes`: shape (channels, values of each)."""
    moved = np.moveaxis(values, axes, range(len(axes)))
    return moved.reshape(int(np.prod(moved.shape[: len(axes)], dtype=int)), -1)


def along(scale: NDArray[Any], axes: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[Any]:
    """Reshape scales, one per position of `axes`, so that they broadcast against an array of `shape`.

    >>> along(np.arange(6.0), (-2, -1), (3, 3, 2, 3)).shape
    (1, 1, 2, 3)
    """
    kept = {axis % len(shape) for axis in axes}
    return scale.reshape([size if axis in kept else 1 for axis, size in enumerate(shape)])
