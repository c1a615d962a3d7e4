"""Numbers through layers that lay out the same elements anew, put tensors together or take parts of one.

The layer itself moves them; NaN moves along.
"""

import numpy as np

from kcompress.channels.constants.numbers import Numbers, compact, spread
from kcompress.channels.constants.step import Step


def permuted(s: Step) -> list[Numbers]:
    """Axes change places."""
    return s.run(s.given, moves=True)


def stacked(s: Step) -> list[Numbers]:
    """Tensors next to each other along a new axis."""
    common = np.broadcast_shapes(*(each.shape for each in s.given))
    return [compact(each) for each in s.run([np.broadcast_to(each, common) for each in s.given], moves=True)]


def joined(s: Step) -> list[Numbers]:
    """Tensors that become one along an axis, or one that becomes several."""
    axis, rank = s.layer.axis % s.given[0].ndim, s.given[0].ndim
    if any(shape[axis] is None for shape in s.shapes):
        return s.unknown()
    common = [max(each.shape[n] for each in s.given) for n in range(rank)]
    whole = []
    for each, shape in zip(s.given, s.shapes, strict=True):
        wanted = [shape[n] or 0 if n == axis else size for n, size in enumerate(common)]
        whole.append(np.broadcast_to(each, wanted))
    return [compact(each) for each in s.run(whole, moves=True)]


def laid_out(s: Step) -> list[Numbers]:
    """Any other way that leaves the batch axis alone; the lengths of all others must be known."""
    known = all(size is not None for shape in s.shapes for size in shape[1:])
    if not known or any(shape[:1] != s.shapes[0][:1] for shape in s.made):
        return s.unknown()
    whole = [spread(each, shape, range(each.ndim)) for each, shape in zip(s.given, s.shapes, strict=True)]
    made = [compact(each) for each in s.run(whole, moves=True)]
    fits = all(
        each.ndim == len(shape) and all(n in (1, size) for n, size in zip(each.shape, shape, strict=True))
        for each, shape in zip(made, s.made, strict=True)
    )
    return made if fits else s.unknown()
