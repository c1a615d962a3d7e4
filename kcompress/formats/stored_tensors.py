"""Find a plan's weights among the tensors of a converted file, and the grid that each tensor lies on there.

A converter transposes and reshapes a kernel, and multiplies its channels by what it folds into them. The tensor then
lies on a grid with other scales (s · f per channel) and another channel axis. Both are recovered from the values.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.base import Tensors
from kcompress.model.view import nodes
from kcompress.numerics import affine
from kcompress.numerics.matching import Wanted, match
from kcompress.quantization.plan import QuantPlan, WeightFormat

SAME = 1e-6  # relative; norms of equal channels in another order agree to this


@dataclass(frozen=True)
class StoredTensor:
    """How a file's tensor is to be stored: as float16, or as `levels`, whole numbers, times `scale` along `axis`.

    `scale` has one entry per position of `axis`, or one in all where that is None; `levels` the tensor's shape.
    `weights` are the qualified names of what it holds.
    """

    weights: tuple[str, ...]
    bits: int
    levels: NDArray[np.int32] | None = None
    axis: int | None = None
    scale: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))


@dataclass(frozen=True)
class _Planned:
    values: NDArray[Any]
    outputs: tuple[int, ...]
    format: WeightFormat


def match_plan(model: Any, plan: QuantPlan, tensors: Tensors) -> tuple[dict[str, StoredTensor], tuple[str, ...]]:
    """How to store each tensor that holds planned weights, by tensor name, and the planned weights that none holds."""
    planned = {}
    for node in nodes(model):
        for weight in node.weights:
            if (name := node.qualified(weight)) in plan.weights:
                outputs = weight.axes.outputs if weight.axes else (len(weight.variable.shape) - 1,)
                planned[name] = _Planned(weight.values, outputs, plan.weights[name])
    found: dict[str, StoredTensor] = {}
    placed: set[str] = set()
    for tensor, names in match(tensors, {n: Wanted(p.values, p.outputs) for n, p in planned.items()}).items():
        stored = _stored(tensors[tensor], names, [planned[name] for name in names])
        if stored is not None:
            found[tensor] = stored
            placed.update(names)
    return found, tuple(sorted(set(planned) - placed))


def _stored(values: NDArray[Any], names: tuple[str, ...], planned: list[_Planned]) -> StoredTensor | None:
    """The first way that holds the tensor exactly; None if there is none."""
    if all(p.format.kind == "float" for p in planned):
        return StoredTensor(names, 16)
    if any(p.format.kind == "float" for p in planned):
        return None
    formats = [p.format for p in planned]
    low, high, bits = min(f.low for f in formats), max(f.high for f in formats), max(f.bits for f in formats)
    for axis, scale in _candidates(values, planned):
        spread = scale if axis is None else affine.along(scale, (axis,), values.shape)
        if affine.on_levels(values, spread, low, high):
            return StoredTensor(names, bits, affine.to_levels(values, spread, low, high), axis, scale)
    return None


def _candidates(values: NDArray[Any], planned: list[_Planned]) -> Iterator[tuple[int | None, NDArray[np.float32]]]:
    """Axis and scales that the tensor may lie on: the planned ones, then those times a factor per channel."""
    scales = [np.asarray(p.format.scale, np.float32) for p in planned]
    if all(len(scale) == 1 for scale in scales):
        together = np.concatenate(scales)
        if len(np.unique(together)) == 1:
            yield None, together[:1]
        elif values.shape[0] == len(planned):  # as in ONNX's LSTM for two directions
            yield 0, together
            yield 0, together[::-1]
    if len(planned) > 1 and not all(p.format == planned[0].format for p in planned):
        return
    kernel, outputs, format = planned[0].values, planned[0].outputs, planned[0].format
    channels = affine.to_rows(kernel, outputs)
    count = len(channels)
    if format.axes and len(scales[0]) != count:
        return
    own = np.broadcast_to(scales[0], (count,))
    norms = _norms(channels)
    for axis in range(values.ndim):
        if values.shape[axis] != count:
            continue
        theirs = _norms(affine.to_rows(values, (axis,)))
        factor = np.divide(theirs, norms, out=np.ones_like(norms), where=(norms > 0) & (theirs > 0))
        factor[np.abs(factor - 1) < SAME] = 1
        yield axis, (own * factor).astype(np.float32)


def _norms(rows: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt((rows.astype(np.float64) ** 2).sum(1)))
