"""Numbers through layers that keep positions apart: elementwise ones, pooling and padding, and reductions."""

import numpy as np

from kcompress.channels.constants.evaluation import Evaluation
from kcompress.channels.constants.numbers import Numbers, along, at, spread
from kcompress.channels.rules.visit import channel_axis, is_elementwise

ANY_SIZE = 64
"""Taken for an axis of unknown length to see whether a layer pads; longer than what pooling reaches over."""
ROUNDING = 1e-5


def alone(e: Evaluation) -> list[Numbers]:
    """Layers of one tensor, without a mask. Not in training mode, where they add noise or look at all samples."""
    return elementwise(e) if len(e.given) == 1 and not e.call.training else e.unknown()


def elementwise(e: Evaluation) -> list[Numbers]:
    """A number where all that meets there are numbers, or where what varies is multiplied by zero."""
    if not is_elementwise(getattr(e.layer, "activation", None)):
        return e.unknown()
    given = e.given
    if getattr(e.layer, "weights", ()):
        own = range(1, given[0].ndim) if e.call.kind == "PReLU" else [getattr(e.layer, "axis", -1)]
        given = tuple(spread(each, shape, own) for each, shape in zip(given, e.shapes, strict=True))
    (made,) = e.run([np.nan_to_num(each) for each in given])
    if not made.ndim or made.shape[0] != 1:  # with an array that has numbers for each sample
        return e.unknown()
    varies = np.zeros(made.shape, bool)
    for each in given:
        varies |= np.isnan(_aligned(e, each, made.ndim))
    if e.call.kind == "Multiply":
        for each in given:
            varies &= _aligned(e, each, made.ndim) != 0
    if getattr(e.layer, "gamma", None) is not None:
        varies &= at(made.ndim, getattr(e.layer, "axis", -1), np.asarray(e.layer.gamma)) != 0
    return [np.where(varies | ~np.isfinite(made), np.nan, made)]


def _aligned(e: Evaluation, given: Numbers, rank: int) -> Numbers:
    """Operations align axes from the last, layers the batch axes too."""
    if e.call.name is None:
        return given
    return given.reshape(given.shape[:1] + (1,) * (rank - given.ndim) + given.shape[1:])


def pooled(e: Evaluation) -> list[Numbers]:
    """Zeros stay zeros. Other numbers stay what they are if ones stay ones, which is not so where zeros are padded."""
    (given,), (shape,), (made,) = e.given, e.shapes, e.made
    axis = channel_axis(e.layer, len(shape))
    probe = np.zeros([2, *(1 if n == axis else size or ANY_SIZE for n, size in enumerate(shape) if n)])
    probe[1] = 1
    (seen,) = e.run([probe])
    if seen[0].any():
        return e.unknown()
    found = along(given, axis, shape[axis] or 1)
    if not np.allclose(seen[1], 1, rtol=0, atol=ROUNDING):
        found = only_zeros(e, axis, found, f"{e.label} pads them with zeros")
    return [at(len(made), axis if len(made) == len(shape) else -1, found)]


def only_zeros(e: Evaluation, axis: int, found: Numbers, why: str) -> Numbers:
    other = ~np.isnan(found) & (found != 0)
    e.lose(axis, other, why)
    return np.where(other, np.nan, found)


def reduced(e: Evaluation) -> list[Numbers]:
    """A sum, mean or maximum over axes of known length."""
    (given, *rest), shape, axis = e.given, e.shapes[0], getattr(e.layer, "axis", None)
    over = range(given.ndim) if axis is None else [a % given.ndim for a in np.atleast_1d(axis).tolist()]
    if rest or any(shape[number] is None for number in over):
        return e.unknown()
    full = spread(given, shape, over)
    (made,) = e.run([np.nan_to_num(full)])
    varies = np.isnan(full).any(axis=tuple(over)).reshape(made.shape)
    return [np.where(varies | ~np.isfinite(made), np.nan, made)]
