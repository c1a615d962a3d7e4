"""Wrappers around layers, which apply the rule of the inner layer."""

from typing import Any

import numpy as np

from kcompress.channels.rules.visit import STAYS, Rule, Visit
from kcompress.channels.trace import Axes, Size, Tensor
from kcompress.keras_internals import producer
from kcompress.model.flow import flow, graph_of


def bidirectional(v: Visit) -> list[Axes]:
    """Two layers on the same sequence; outputs are merged, states come one layer's after the other's."""
    layer, mode = v.layer, v.layer.merge_mode
    given, *states = v.given
    half, parts = len(states) // 2, 1 if mode is not None else 2
    last = (*v.shapes[0][:-1], None)
    shapes = [last, *v.shapes[parts : parts + (len(v.shapes) - parts) // 2]]
    one, *one_states = v.inner(layer.forward_layer, [given, *states[:half]], shapes)
    other, *other_states = v.inner(layer.backward_layer, [given, *states[half:]], shapes)
    ids, others = one[-1], other[-1]
    v.together([ids, others], STAYS)  # Keras wants them to be equally wide
    merged = [one, other]
    if ids is None or others is None:
        merged = [(None,) * len(one)] * parts
    elif mode == "concat":
        merged = [(*one[:-1], np.concatenate([ids, others]))]
    return [*merged[:parts], *one_states, *other_states]


def time_distributed(v: Visit) -> list[Axes]:
    """The inner layer without the axis of time, which is the second."""
    given = v.given[0]
    if len(v.given) > 1:
        return v.unknown(f"{v.label} takes several tensors")
    v.pin(given.axes[1:2], f"{v.label} steps along it")
    inner = Tensor((given.shape[0], *given.shape[2:]), (given.axes[0], *given.axes[2:]))
    made = v.inner(v.layer.layer, [inner], [(shape[0], *shape[2:]) for shape in v.shapes])
    return [(axes[0], None, *axes[1:]) for axes in made]


def spectral(v: Visit) -> list[Axes]:
    """The norm is taken of the kernel in training only, with a vector that has one number for each output."""
    made = v.inner(v.layer.layer, v.given, v.shapes)
    kernel = v.trace.slices.get(id(v.layer.kernel))
    v.trace.weight(v.layer.vector_u, (None, None if kernel is None else kernel.axes[-1]))
    return made


def model(v: Visit) -> list[Axes]:
    """A model inside a wrapper: each of its calls in turn. Others come here only if they could not be followed."""
    found = flow(v.layer)
    if v.layer is v.call.operation or len(found.inputs) != len(v.given):
        return v.unknown(f"{v.label}, a model that can't be followed, uses it")
    tensors = v.follow(v.trace, found, [tensor.axes for tensor in v.given])
    for operation, axes in zip(_inputs(v.layer), (tensor.axes for tensor in v.given), strict=True):
        sizes = zip(operation.batch_shape, axes, strict=True)
        v.trace.set(operation, "batch_shape", tuple(n if n is None or a is None else Size(a) for n, a in sizes))
    return [tensors[number] for number in found.outputs]


def _inputs(layer: Any) -> list[Any]:
    """The input layers of a model."""
    return [producer(tensor) for tensor in graph_of(layer).inputs]


LAYERS: dict[str, Rule] = {
    "Bidirectional": bidirectional,
    "TimeDistributed": time_distributed,
    "SpectralNormalization": spectral,
    "Functional": model,
    "Sequential": model,
}
OPERATIONS: dict[str, Rule] = {}
