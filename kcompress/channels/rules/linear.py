"""Layers that make new channels out of their input: Dense, EinsumDense, convolutions, Embedding."""

from typing import Any

import numpy as np

from kcompress.channels.rules.visit import Rule, Visit, channel_axis, put
from kcompress.channels.trace import Axes, Axis, Size


def dense(v: Visit) -> list[Axes]:
    (given,), layer = v.given, v.layer
    units = v.trace.make(layer, layer.units, "units")
    v.trace.weight(layer.kernel, (given.axes[-1], units), reads=(0,))
    _bias(v, units)
    v.trace.set(layer, "units", Size(units))
    return [v.activated((*given.axes[:-1], units))]


def _bias(v: Visit, *axes: Axis) -> None:
    if getattr(v.layer, "bias", None) is not None:
        v.trace.weight(v.layer.bias, axes)


def embedding(v: Visit) -> list[Axes]:
    (given,), layer = v.given, v.layer
    v.pin(given.axes, f"{v.label} looks it up")
    made = v.trace.make(layer, layer.output_dim, "outputs")
    v.trace.weight(layer.embeddings, (None, made))
    v.trace.set(layer, "output_dim", Size(made))
    return [(*given.axes, made)]


def reversible(v: Visit) -> list[Axes]:
    """In reverse, a product with the same matrix, or with one of its own, gives one number for each of the words."""
    given, layer = v.given[0], v.layer
    if not v.arguments().get("reverse"):
        return embedding(v)
    made = v.trace.make(layer, layer.output_dim, "outputs")
    v.trace.unite(made, given.axes[-1], f"{v.label} multiplies what stays")
    if layer.tie_weights:
        v.trace.weight(layer.embeddings, (None, made), reads=(1,))
    else:
        v.trace.weight(layer.reverse_embeddings, (made, None), reads=(0,))
    v.trace.set(layer, "output_dim", Size(made))
    return [(*given.axes[:-1], None)]


def _sliding(v: Visit) -> tuple[int, Axis, Axes]:
    """Where the channels of the input lie, their identities, and the axes of the kernel along which it slides."""
    (given,) = v.given
    at = channel_axis(v.layer, given.rank)
    v.only(given, at, does="slides along")
    return at, given.axes[at], (None,) * len(v.layer.kernel_size)


def _filters(v: Visit) -> Any:
    filters = v.trace.make(v.layer, v.layer.filters, "filters")
    v.trace.set(v.layer, "filters", Size(filters))
    return filters


def _multiplied(v: Visit, inputs: Axis) -> Axis:
    """Each input channel makes `depth_multiplier` outputs, next to each other."""
    return None if inputs is None else np.repeat(inputs, v.layer.depth_multiplier)


def _slid(v: Visit, at: int, ids: Axis) -> list[Axes]:
    """Its bias and its output."""
    _bias(v, ids)
    return [v.activated(put(v.given[0].rank, at, ids))]


def convolution(v: Visit) -> list[Axes]:
    """A kernel (..., inputs per group, filters); an input channel is that of a group, and of a place in each group."""
    layer, (at, inputs, around) = v.layer, _sliding(v)
    filters = _filters(v)
    if layer.groups > 1:
        inputs = _grouped(v, inputs, filters)
    v.trace.weight(layer.kernel, (*around, inputs, filters), reads=(len(around),))
    return _slid(v, at, filters)


def _grouped(v: Visit, inputs: Axis, filters: Any) -> Axis:
    """Compose inputs and filters of groups and places in each group; gives the places of the inputs, None for one."""
    count = v.layer.groups
    why = f"{v.label} has groups that do not fit those elsewhere"
    if inputs is None:
        inputs = v.trace.fixed(v.layer.kernel.shape[-2] * count, f"{v.label} reads inputs that stay, in groups")
    groups = v.trace.factor(count)
    places: list[Axis] = []
    for ids in (inputs, filters):
        each = len(ids) // count
        rows = np.repeat(groups, each)
        places.append(v.trace.factor(each) if each > 1 else None)
        if places[-1] is None:
            v.trace.identities.unite(ids, rows)
        else:
            v.trace.identities.compose(ids, (rows, np.tile(places[-1], count)), why)
    v.trace.set(v.layer, "groups", Size(groups))
    return places[0]


def transposed(v: Visit) -> list[Axes]:
    (at, inputs, around), filters = _sliding(v), _filters(v)
    v.trace.weight(v.layer.kernel, (*around, filters, inputs), reads=(len(around) + 1,))
    return _slid(v, at, filters)


def depthwise(v: Visit) -> list[Axes]:
    at, inputs, around = _sliding(v)
    v.trace.weight(v.layer.kernel, (*around, inputs, None))
    return _slid(v, at, _multiplied(v, inputs))


def separable(v: Visit) -> list[Axes]:
    (at, inputs, around), filters = _sliding(v), _filters(v)
    v.trace.weight(v.layer.depthwise_kernel, (*around, inputs, None))
    v.trace.weight(v.layer.pointwise_kernel, (*around, _multiplied(v, inputs), filters), reads=(len(around),))
    return _slid(v, at, filters)


def einsum_dense(v: Visit) -> list[Axes]:
    """Axes by the labels of the equation; a label of the kernel alone makes channels."""
    (given,), layer = v.given, v.layer
    operands, output = layer.equation.replace(" ", "").split("->")
    left, right = operands.split(",")
    if "." in right or any(len(set(part.replace(".", ""))) != len(part.replace(".", "")) for part in (left, output)):
        return v.unknown(f"{v.label} has the equation {layer.equation}")
    labels = dict(zip(_spread(left, given.rank), given.axes, strict=True))
    for label in set(left) - set(output) - set(right) - {"."}:
        v.trace.pin(labels[label], f"{v.label} sums over it")
    for label, size in zip(right, layer.kernel.shape, strict=True):
        if label not in labels:
            what = "outputs" if len(set(right) & set(output) - set(left)) == 1 else f"outputs {label}"
            labels[label] = v.trace.make(layer, int(size), what)
    reads = [number for number, label in enumerate(right) if label in left]
    v.trace.weight(layer.kernel, tuple(labels[label] for label in right), reads=reads)
    made = tuple(labels[label] for label in _spread(output, len(v.shapes[0])))
    if layer.bias is not None:
        v.trace.weight(layer.bias, made[-len(layer.bias.shape) :])
    sizes = layer.get_config()["output_shape"]
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    aligned = zip(sizes, made[len(made) - len(sizes) :], strict=True)
    v.trace.set(layer, "output_shape", tuple(s if s is None or ids is None else Size(ids) for s, ids in aligned))
    return [v.activated(made)]


def _spread(labels: str, rank: int) -> list[str]:
    """One label per axis; those of an ellipsis are numbers, counted from the last."""
    start, dots, end = labels.partition("...")
    count = rank - len(start) - len(end) if dots else 0
    return [*start, *(str(count - number) for number in range(count)), *end]


RANKS = (1, 2, 3)
LAYERS: dict[str, Rule] = {
    "Dense": dense,
    "EinsumDense": einsum_dense,
    "Embedding": embedding,
    "ReversibleEmbedding": reversible,
    **{f"Conv{n}D": convolution for n in RANKS},
    **{f"Conv{n}DTranspose": transposed for n in RANKS},
    **{f"DepthwiseConv{n}D": depthwise for n in RANKS[:2]},
    **{f"SeparableConv{n}D": separable for n in RANKS[:2]},
}
OPERATIONS: dict[str, Rule] = {}
