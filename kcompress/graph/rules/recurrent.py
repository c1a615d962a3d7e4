"""Recurrent layers, whose units are their state too, and the wrappers around layers."""

from typing import Any

import numpy as np

from kcompress.graph.channels import Axes, Size, Tensor
from kcompress.graph.rules.visit import Rule, Visit, channel_axis, is_elementwise

GATES = {"SimpleRNNCell": 1, "GRUCell": 3, "LSTMCell": 4}
ELEMENTWISE = ("activation", "recurrent_activation")


def recurrent(v: Visit) -> list[Axes]:
    """A cell with kernels (inputs, gates × units) and (units, gates × units)."""
    (given, *initial), layer = v.given, v.layer
    cell: Any = getattr(layer, "cell", None)
    kind = type(cell).__name__
    if kind not in GATES or not all(is_elementwise(getattr(cell, name, None)) for name in ELEMENTWISE):
        return v.unknown(f"{v.label}, whose cell is of type {kind}, uses it")
    v.only(given, -1, does="steps along")
    owner = cell if type(layer).__name__ == "RNN" else layer
    units = v.trace.make(cell, cell.units, "units")
    gates = np.tile(units, GATES[kind])
    v.trace.weight(cell.kernel, (given.axes[-1], gates), reads=(0,))
    v.trace.weight(cell.recurrent_kernel, (units, gates), reads=(0,))
    if getattr(cell, "bias", None) is not None:
        v.trace.weight(cell.bias, (*(None,) * (len(cell.bias.shape) - 1), gates))
    v.trace.set(owner, "units", Size(units))
    for variable in layer.states or () if getattr(layer, "stateful", False) else ():
        v.trace.weight(variable, (None, units))
    for state in initial:
        if state.rank == 2 and state.shape[-1] == cell.units:
            v.trace.unite(units, state.axes[-1], f"{v.label} takes its state from what stays")
        else:  # a mask
            v.pin(state.axes, f"{v.label} uses it")
    return [(*(None,) * (len(shape) - 1), units) for shape in v.shapes]


def convolutional(v: Visit) -> list[Axes]:
    """As `recurrent`, with kernels (..., inputs, gates × filters) and (..., filters, gates × filters)."""
    (given, *initial), layer, cell = v.given, v.layer, v.layer.cell
    if initial or layer.stateful or not all(is_elementwise(getattr(cell, name)) for name in ELEMENTWISE):
        return v.unknown(f"{v.label} takes states or mixes its gates")
    at, around = channel_axis(layer, given.rank - 1) + 1, (None,) * len(layer.kernel_size)
    v.only(given, at, does="steps and slides along")
    filters = v.trace.make(cell, cell.filters, "filters")
    gates = np.tile(filters, GATES["LSTMCell"])
    v.trace.weight(cell.kernel, (*around, given.axes[at], gates), reads=(len(around),))
    v.trace.weight(cell.recurrent_kernel, (*around, filters, gates), reads=(len(around),))
    if cell.bias is not None:
        v.trace.weight(cell.bias, (gates,))
    v.trace.set(layer, "filters", Size(filters))
    places = [channel_axis(layer, given.rank - 1) + len(shape) - given.rank + 1 for shape in v.shapes]
    return [
        tuple(filters if n == place else None for n in range(len(s))) for s, place in zip(v.shapes, places, strict=True)
    ]


def bidirectional(v: Visit) -> list[Axes]:
    layer, mode = v.layer, v.layer.merge_mode
    if len(v.given) > 1 or len(v.shapes) > 1 or mode is None:
        return v.unknown(f"{v.label} takes or gives several tensors")
    rank = len(v.shapes[0])
    halves = []
    for each in (layer.forward_layer, layer.backward_layer):
        (axes,) = v.inner(each, v.given, [(*v.shapes[0][:-1], None)])
        halves.append(axes[-1])
    one, other = halves
    if one is None or other is None:
        v.pin(halves, f"{v.label} brings it together with what stays")
        return [(None,) * rank]
    v.trace.unite(one, other, "")  # even where they are concatenated: Keras takes it that they are equally wide
    return [(*(None,) * (rank - 1), np.concatenate([one, other]) if mode == "concat" else one)]


def time_distributed(v: Visit) -> list[Axes]:
    """The inner layer without the axis of time, which is the second."""
    if len(v.given) > 1:
        return v.unknown(f"{v.label} takes several tensors")
    (given,) = v.given
    v.pin(given.axes[1:2], f"{v.label} steps along it")
    inner = Tensor((given.shape[0], *given.shape[2:]), (given.axes[0], *given.axes[2:]))
    made = v.inner(v.layer.layer, [inner], [(shape[0], *shape[2:]) for shape in v.shapes])
    return [(axes[0], None, *axes[1:]) for axes in made]


LAYERS: dict[str, Rule] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN"), recurrent),
    **{f"ConvLSTM{n}D": convolutional for n in (1, 2, 3)},
    "Bidirectional": bidirectional,
    "TimeDistributed": time_distributed,
}
OPERATIONS: dict[str, Rule] = {}
