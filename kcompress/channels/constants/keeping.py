"""Numbers through layers that keep positions apart: elementwise ones, pooling and padding, and reductions."""

import numpy as np

from kcompress.channels.constants.numbers import Numbers, along, at, spread
from kcompress.channels.constants.step import Step
from kcompress.channels.rules.visit import channel_axis, is_elementwise

ANY_SIZE = 64
"""Taken for an axis of unknown length to see whether a layer pads; longer than what pooling reaches over."""
ROUNDING = 1e-5


def alone(s: Step) -> list[Numbers]:
    """One tensor, without a mask, and not as in training, which makes noise of it or looks at all samples."""
    return elementwise(s) if len(s.given) == 1 and not s.call.training else s.unknown()


def elementwise(s: Step) -> list[Numbers]:
    """A number where all that meets there are numbers, or where what varies is multiplied by zero."""
    if not is_elementwise(getattr(s.layer, "activation", None)):
        return s.unknown()
    given = s.given
    if getattr(s.layer, "weights", ()):
        own = range(1, given[0].ndim) if s.call.kind == "PReLU" else [getattr(s.layer, "axis", -1)]
        given = tuple(spread(each, shape, own) for each, shape in zip(given, s.shapes, strict=True))
    (made,) = s.run([np.nan_to_num(each) for each in given])
    if not made.ndim or made.shape[0] != 1:  # with an array that has numbers for each sample
        return s.unknown()
    varies = np.zeros(made.shape, bool)
    for each in given:
        varies |= np.isnan(_aligned(s, each, made.ndim))
    if s.call.kind == "Multiply":
        for each in given:
            varies &= _aligned(s, each, made.ndim) != 0
    if getattr(s.layer, "gamma", None) is not None:
        varies &= at(made.ndim, getattr(s.layer, "axis", -1), np.asarray(s.layer.gamma)) != 0
    return [np.where(varies | ~np.isfinite(made), np.nan, made)]


def _aligned(s: Step, given: Numbers, rank: int) -> Numbers:
    """Operations align axes from the last, layers the batch axes too."""
    if s.call.name is None:
        return given
    return given.reshape(given.shape[:1] + (1,) * (rank - given.ndim) + given.shape[1:])


def pooled(s: Step) -> list[Numbers]:
    """Channel by channel zeros stay, and other numbers do if ones do, as they don't where zeros are padded."""
    (given,), (shape,), (made,) = s.given, s.shapes, s.made
    axis = channel_axis(s.layer, len(shape))
    probe = np.zeros([2, *(1 if n == axis else size or ANY_SIZE for n, size in enumerate(shape) if n)])
    probe[1] = 1
    (seen,) = s.run([probe])
    if seen[0].any():
        return s.unknown()
    found = along(given, axis, shape[axis] or 1)
    if not np.allclose(seen[1], 1, rtol=0, atol=ROUNDING):
        found = only_zeros(s, axis, found, f"{s.label} pads them with zeros")
    return [at(len(made), axis if len(made) == len(shape) else -1, found)]


def only_zeros(s: Step, axis: int, found: Numbers, why: str) -> Numbers:
    other = ~np.isnan(found) & (found != 0)
    s.lose(axis, other, why)
    return np.where(other, np.nan, found)


def reduced(s: Step) -> list[Numbers]:
    """A sum, mean or maximum over axes of known length."""
    (given, *rest), shape, axis = s.given, s.shapes[0], getattr(s.layer, "axis", None)
    over = range(given.ndim) if axis is None else [a % given.ndim for a in np.atleast_1d(axis).tolist()]
    if rest or any(shape[number] is None for number in over):
        return s.unknown()
    whole = spread(given, shape, over)
    (made,) = s.run([np.nan_to_num(whole)])
    varies = np.isnan(whole).any(axis=tuple(over)).reshape(made.shape)
    return [np.where(varies | ~np.isfinite(made), np.nan, made)]
