"""Layers and operations that give the same elements another shape: Flatten, Reshape, Permute and their like.

Axes of the input and of the output are paired in blocks of the same number of elements. If several axes become one,
position (i, j) of that is composed of i and j; if one becomes several, its positions are composed of theirs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kcompress.channels.rules.visit import Rule, Visit
from kcompress.channels.trace import Axes, Axis, Size, Tensor
from kcompress.model.flow import Shape

Block = tuple[list[int], list[int]]


def blocks(given: Shape, made: Shape) -> Iterator[Block]:
    """Axes of two shapes that hold the same elements, the last first; those of length 1 are left out.

    >>> list(blocks((None, 4, 4, 8), (None, 16, 8))), list(blocks((None, 6), (None, 1, 2, 3)))
    ([([3], [2]), ([1, 2], [1]), ([0], [0])], [([1], [2, 3]), ([0], [0])])
    """
    ends = [[n for n, size in enumerate(shape) if size != 1] for shape in (given, made)]
    left, right = ends
    while left and right:
        one, other = [left.pop()], [right.pop()]
        sizes = [given[one[0]], made[other[0]]]
        while sizes[0] != sizes[1]:
            if None in sizes:
                one, other, left, right = [*left, *one], [*right, *other], [], []
                break
            short = 0 if (sizes[0] or 0) < (sizes[1] or 0) else 1
            axes, rest, shape = ((one, left, given), (other, right, made))[short]
            if not rest or shape[rest[-1]] is None:
                one, other, left, right = [*left, *one], [*right, *other], [], []
                break
            axes.insert(0, rest.pop())
            sizes[short] = (sizes[short] or 0) * (shape[axes[0]] or 0)
        yield one, other
    if left or right:
        yield left, right


def laid_out(v: Visit, given: Tensor, shape: Shape) -> Axes:
    """Identities of the same elements in another shape."""
    made: list[Axis] = [None] * len(shape)
    for one, other in blocks(given.shape, shape):
        axes = [given.axes[number] for number in one]
        if all(axis is None for axis in axes):
            continue
        if len(one) == len(other) == 1:
            made[other[0]] = axes[0]
        elif len(other) == 1:
            made[other[0]] = _joined(v, axes, [given.shape[number] for number in one])
        elif len(one) == 1:
            found = _parted(v, axes[0], [shape[number] for number in other])
            for number, axis in zip(other, found, strict=True):
                made[number] = axis
        else:
            v.pin(axes, f"{v.label} lays it out across axes")
    return tuple(made)


def _joined(v: Visit, axes: Sequence[Axis], shape: Sequence[Any]) -> Axis:
    """One axis out of several."""
    if None in shape:
        v.pin(axes, f"{v.label} joins it with an axis of unknown length")
        return None
    parts = []
    for number, axis in enumerate(axes):
        if axis is not None:
            across = [-1 if n == number else 1 for n in range(len(shape))]
            parts.append(np.broadcast_to(axis.reshape(across), shape).reshape(-1))
    if len(parts) == 1:
        return parts[0]
    joined = v.trace.factor(len(parts[0]))
    v.trace.identities.compose(joined, parts, f"{v.label} joins it with what does not fit")
    return joined


def _parted(v: Visit, axis: Any, shape: Sequence[Any]) -> list[Axis]:
    """Several axes out of one; an axis along which nothing changes has no identities."""
    spread = axis.reshape(shape)
    varying = [n for n in range(len(shape)) if not np.array_equal(spread, np.roll(spread, 1, n))]
    if len(varying) == 1:
        (only,) = varying
        single = np.moveaxis(spread, only, 0).reshape(shape[only], -1)[:, 0]
        return [single if n == only else None for n in range(len(shape))]
    factors = [v.trace.factor(size) for size in shape]
    parts = [
        np.broadcast_to(f.reshape([-1 if n == number else 1 for n in range(len(shape))]), shape).reshape(-1)
        for number, f in enumerate(factors)
    ]
    v.trace.identities.compose(axis, parts, f"{v.label} splits it otherwise than elsewhere")
    return list(factors)


def _reshape(v: Visit, key: str, wanted: Sequence[Any], first: int) -> list[Axes]:
    """`wanted` is the setting called `key`, whose first number is for axis `first` of the output."""
    axes = laid_out(v, v.given[0], v.shapes[0])
    sizes = [s if s == -1 or a is None else Size(a) for s, a in zip(wanted, axes[first:], strict=True)]
    v.trace.set(v.layer, key, tuple(sizes))
    return [axes]


def reshape_layer(v: Visit) -> list[Axes]:
    return _reshape(v, "target_shape", v.layer.target_shape, 1)


def reshape(v: Visit) -> list[Axes]:
    wanted = v.layer.newshape
    if not isinstance(wanted, (list, tuple)) or not all(isinstance(size, int) for size in wanted):
        return v.unknown(f"{v.label} gives it a shape that is computed")
    return _reshape(v, "newshape", wanted, 0)


def flatten(v: Visit) -> list[Axes]:
    (given,) = v.given
    if v.layer.data_format == "channels_first" and given.rank > 2:
        given = _permuted(given, (0, *range(2, given.rank), 1))
    return [laid_out(v, given, (given.shape[0], v.shapes[0][1]))]


def ravelled(v: Visit) -> list[Axes]:
    return [laid_out(v, v.given[0], v.shapes[0])]


def _permuted(given: Tensor, order: Sequence[int]) -> Tensor:
    return Tensor(tuple(given.shape[n] for n in order), tuple(given.axes[n] for n in order))


def permute(v: Visit) -> list[Axes]:
    return [_permuted(v.given[0], (0, *v.layer.dims)).axes]


def transpose(v: Visit) -> list[Axes]:
    given, axes = v.given[0], v.layer.axes
    return [_permuted(given, range(given.rank)[::-1] if axes is None else [a % given.rank for a in axes]).axes]


def swapaxes(v: Visit) -> list[Axes]:
    given, order = v.given[0], list(range(v.given[0].rank))
    one, other = v.layer.axis1 % given.rank, v.layer.axis2 % given.rank
    order[one], order[other] = other, one
    return [_permuted(given, order).axes]


def moveaxis(v: Visit) -> list[Axes]:
    given = v.given[0]
    sources = [a % given.rank for a in np.atleast_1d(v.layer.source).tolist()]
    order = [n for n in range(given.rank) if n not in sources]
    targets = [a % given.rank for a in np.atleast_1d(v.layer.destination).tolist()]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return [_permuted(given, order).axes]


def repeat_vector(v: Visit) -> list[Axes]:
    return [(None, None, v.given[0].axes[-1])]


def depth_to_space(v: Visit) -> list[Axes]:
    """Channels (block, block, rest) become positions and the rest: one of the rest goes with all of its blocks."""
    given, at = v.given[0], 1 if v.layer.data_format == "channels_first" else 3
    v.only(given, at, does="works along")
    ids = given.axes[at]
    if ids is None:
        return [given.axes]
    spread = ids.reshape(v.layer.block_size**2, -1)
    for row in spread[1:]:
        v.trace.unite(spread[0], row, "")
    return [tuple(spread[0] if n == at else None for n in range(4))]


def space_to_depth(v: Visit) -> list[Axes]:
    given, at = v.given[0], 1 if v.layer.data_format == "channels_first" else 3
    v.only(given, at, does="works along")
    ids = given.axes[at]
    tiled = None if ids is None else np.tile(ids, v.layer.block_size**2)
    return [tuple(tiled if n == at else None for n in range(4))]


LAYERS: dict[str, Rule] = {
    "Flatten": flatten,
    "Reshape": reshape_layer,
    "Permute": permute,
    "RepeatVector": repeat_vector,
}
OPERATIONS: dict[str, Rule] = {
    "Reshape": reshape,
    **dict.fromkeys(("Ravel", "ExpandDims", "Squeeze"), ravelled),
    "Transpose": transpose,
    "Swapaxes": swapaxes,
    "Moveaxis": moveaxis,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
