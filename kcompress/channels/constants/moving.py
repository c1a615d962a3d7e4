"""Numbers through layers that lay out the same elements anew, put tensors together or take parts of one.

The layer itself moves them; NaN moves along.
"""

import numpy as np

from kcompress.channels.constants.evaluation import Evaluation
from kcompress.channels.constants.numbers import Numbers, compact, spread


def permuted(e: Evaluation) -> list[Numbers]:
    """Axes change places."""
    return e.run(e.given, moves=True)


def stacked(e: Evaluation) -> list[Numbers]:
    """Tensors next to each other along a new axis."""
    common = np.broadcast_shapes(*(each.shape for each in e.given))
    return [compact(each) for each in e.run([np.broadcast_to(each, common) for each in e.given], moves=True)]


def joined(e: Evaluation) -> list[Numbers]:
    """Tensors that become one along an axis, or one that becomes several."""
    axis, rank = e.layer.axis % e.given[0].ndim, e.given[0].ndim
    if any(shape[axis] is None for shape in e.shapes):
        return e.unknown()
    common = [max(each.shape[n] for each in e.given) for n in range(rank)]
    full = []
    for each, shape in zip(e.given, e.shapes, strict=True):
        wanted = [shape[n] or 0 if n == axis else size for n, size in enumerate(common)]
        full.append(np.broadcast_to(each, wanted))
    return [compact(each) for each in e.run(full, moves=True)]


def laid_out(e: Evaluation) -> list[Numbers]:
    """Any other way that leaves the batch axis alone; the lengths of all others must be known."""
    known = all(size is not None for shape in e.shapes for size in shape[1:])
    if not known or any(shape[:1] != e.shapes[0][:1] for shape in e.made):
        return e.unknown()
    full = [spread(each, shape, range(each.ndim)) for each, shape in zip(e.given, e.shapes, strict=True)]
    made = [compact(each) for each in e.run(full, moves=True)]
    fits = all(
        each.ndim == len(shape) and all(n in (1, size) for n, size in zip(each.shape, shape, strict=True))
        for each, shape in zip(made, e.made, strict=True)
    )
    return made if fits else e.unknown()
