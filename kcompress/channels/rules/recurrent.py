"""Recurrent layers, whose units are their state too; with cells of matrices or of convolutions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompress.channels.identities import Ids
from kcompress.channels.rules.visit import Rule, Visit, channel_axis, is_elementwise, put
from kcompress.channels.trace import Axes, Axis, Size

GATES = {"SimpleRNNCell": 1, "GRUCell": 3, "LSTMCell": 4, "ConvLSTMCell": 4}
STATES = {"SimpleRNNCell": 1, "GRUCell": 1, "LSTMCell": 2, "ConvLSTMCell": 2}
ELEMENTWISE = ("activation", "recurrent_activation")


def recurrent(v: Visit) -> list[Axes]:
    """The cells of a layer, one after the other; each gives its units and leaves them in its states."""
    (given, *others), layer = v.given, v.layer
    cells = _cells(layer)
    for cell in cells:
        if not _is_known(cell):
            return v.unknown(f"{v.label}, whose cell is of type {type(cell).__name__}, uses it")
    at = channel_axis(layer, given.rank - 1) + 1
    v.only(given, at, does="steps along")
    inputs, states = given.axes[at], list[Ids]()
    for cell in cells:
        owner = cell if type(layer).__name__ == "RNN" else layer
        inputs = _cell(v, cell, owner, inputs)
        states += [inputs] * STATES[type(cell).__name__]
    for tensor, units in zip(others, states, strict=False):
        place = channel_axis(layer, tensor.rank)
        v.only(tensor, place, does="takes its state along")
        v.trace.unite(units, tensor.axes[place], f"{v.label} takes its state from what stays")
    made = [inputs, *states]
    ranks = [len(shape) for shape in v.shapes]
    places = [at if rank == given.rank else channel_axis(layer, rank) for rank in ranks]
    return [put(*place) for place in zip(ranks, places, made[: len(ranks)], strict=True)]


def _cells(layer: Any) -> Sequence[Any]:
    """The cells of a layer from the first to the last."""
    cell: Any = layer.cell
    return list(cell.cells) if type(cell).__name__ == "StackedRNNCells" else [cell]


def _is_known(cell: Any) -> bool:
    return type(cell).__name__ in GATES and all(is_elementwise(getattr(cell, name, None)) for name in ELEMENTWISE)


def _cell(v: Visit, cell: Any, owner: Any, inputs: Axis) -> Ids:
    """Kernels (..., inputs, gates × units) and (..., units, gates × units); the setting is that of `owner`."""
    what = "filters" if hasattr(cell, "filters") else "units"
    units = v.trace.make(cell, getattr(cell, what), what)
    gates = np.tile(units, GATES[type(cell).__name__])
    around = (None,) * (len(cell.kernel.shape) - 2)
    v.trace.weight(cell.kernel, (*around, inputs, gates), reads=(len(around),))
    v.trace.weight(cell.recurrent_kernel, (*around, units, gates), reads=(len(around),))
    if getattr(cell, "bias", None) is not None:
        v.trace.weight(cell.bias, (*(None,) * (len(cell.bias.shape) - 1), gates))
    v.trace.set(owner, what, Size(units))
    return units


LAYERS: dict[str, Rule] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN"), recurrent),
    **{f"ConvLSTM{n}D": recurrent for n in (1, 2, 3)},
}
OPERATIONS: dict[str, Rule] = {}
