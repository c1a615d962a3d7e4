"""Constant channels where they are read: what then counts as read, and folding them into the bias of the reader.

A linear layer that reads x gives for channels c of it that always are numbers W x = W' x' + W c, where x' is the rest,
and W c is the same at every position only if no padding mixes in zeros.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.channels.constants import Constants
from kcompress.channels.constants.making import nonzero, padding, shifted, weights
from kcompress.channels.constants.numbers import Numbers, along
from kcompress.channels.cut import Dropped
from kcompress.channels.liveness import Flags
from kcompress.channels.rules import describes
from kcompress.channels.trace import Axis
from kcompress.model.flow import Call
from kcompress.model.keras_quantization import is_altered
from kcompress.model.linear import Linear, linear, with_bias
from kcompress.model.rebuild import assign, edited
from kcompress.model.view import nodes
from kcompress.quantization.plan import QuantPlan

RECURRENT = ("LSTM", "GRU", "SimpleRNN")


@dataclass(frozen=True)
class Reading:
    """A linear layer, the number that each channel of its input always is (NaN where it varies), and the identities of
    its inputs and outputs. `problem` tells why numbers other than zero can't go into its bias."""

    name: str
    linear: Linear
    numbers: Numbers
    given: Axis
    made: Axis
    problem: str | None

    @property
    def counts(self) -> Flags:
        """Which inputs count as read where a weight reads them."""
        return np.isnan(self.numbers) if self.problem is None else self.numbers != 0

    def tables(self) -> Iterator[tuple[int, Flags]]:
        """For each kernel its id and which of its weights count."""
        layer, first, last = self.linear.layer, self.linear.first[0], self.linear.last[0]
        own = nonzero(self.linear, weights(layer))
        met = self.linear.scale_inputs(own, self.counts.astype(np.float32))[first] != 0
        yield id(getattr(layer, first)), met
        if last != first:  # separable: what lies between is zero where no weight before it counts
            yield id(getattr(layer, last)), (own[last] != 0) & met.reshape(-1, 1)

    def shift(self, channels: Channels, dropped: Dropped) -> Numbers:
        """The numbers of those inputs that go, and 0 for the others."""
        if self.given is None or self.problem is not None:
            return np.zeros(len(self.numbers))
        return np.where(channels.units.stay(self.given, dropped), 0, np.nan_to_num(self.numbers))


def readings(channels: Channels, constants: Constants, plan: QuantPlan) -> list[Reading]:
    """The linear layers all of whose calls are known."""
    found = []
    for call in _owners(channels):
        layer, calls = call.operation, channels.flow.calls_of(call.operation)
        how = linear(layer) if describes(layer) and not is_altered(layer) else None
        if how is None or how.last[1] == "depthwise" or any(len(each.inputs) > 1 for each in calls):
            continue
        size = how.inputs(weights(layer))
        each = [along(constants.numbers[each.inputs[0]], how.axis, size) for each in calls]
        numbers = reduce(lambda one, other: np.where(one == other, one, np.nan), each)
        given, made = (channels.tensors[ends[0]][how.axis] for ends in (call.inputs, call.outputs))
        found.append(Reading(call.label, how, numbers, given, made, _problem(call.label, how, numbers, plan)))
    return found


def _owners(channels: Channels) -> Iterator[Call]:
    """The first call of each layer whose weights no other layer uses, also not one around it."""
    for call in channels.flow.calls:
        layer = call.operation
        first = call.name is not None and channels.flow.calls_of(layer)[0] is call
        if first and layer.weights and channels.flow.owns_its_weights(layer):
            yield call


def _problem(name: str, how: Linear, numbers: Numbers, plan: QuantPlan) -> str | None:
    meets = np.nan_to_num(numbers)
    if not meets.any():
        return None
    if how.reads_padding:
        return padding(name, how)
    if f"{name}/bias" in plan.weights:
        return f"the bias of {name} is on a quantization grid already"
    finite = np.isfinite(shifted(how, weights(how.layer), meets)).all()
    return None if finite else f"weights of {name} are no finite numbers"


def state_tables(channels: Channels, constants: Constants) -> Iterator[tuple[int, Flags]]:
    """For each kernel of a recurrent layer its id and which of its weights count: none that reads what is always 0."""
    for call in _owners(channels):
        layer = call.operation
        if call.kind in RECURRENT:
            layers = [layer]
        elif call.kind == "Bidirectional" and layer.merge_mode == "concat":
            layers = [layer.forward_layer, layer.backward_layer]
        else:
            continue
        if len(channels.flow.calls_of(layer)) > 1 or any(type(each).__name__ not in RECURRENT for each in layers):
            continue
        given, made = (constants.numbers[ends[0]] for ends in (call.inputs, call.outputs))
        cells = [each.cell for each in layers]
        for number, cell in enumerate(cells):
            kernel, back = np.asarray(cell.kernel) != 0, np.asarray(cell.recurrent_kernel) != 0
            states = along(made, -1, len(back) * len(cells))[number * len(back) :][: len(back)]
            yield id(cell.kernel), kernel & (along(given, -1, len(kernel)) != 0)[:, None]
            yield id(cell.recurrent_kernel), back & (states != 0)[:, None]


def fold(model: Any, channels: Channels, found: list[Reading], dropped: Dropped) -> tuple[Any, dict[str, int]]:
    """Put the numbers of dropped channels into the biases of a model that was cut.

    Returns the model, and for each layer how many of its inputs were such numbers.

    A bias is made where there is none.
    """
    layers = {node.name: node.layer for node in nodes(model)}
    replaced: dict[str, Any] = {}
    biases: dict[str, Numbers] = {}
    count: dict[str, int] = {}
    for reading in found:
        shift = reading.shift(channels, dropped)
        own, layer = weights(reading.linear.layer), layers[reading.name]
        added = shifted(reading.linear, own, shift)
        change = added - own.get("bias", np.zeros(()))
        if reading.made is not None:
            stay = channels.units.stay(reading.made, dropped)
            added, change = added[stay], change[stay]
        if not change.any():
            continue
        count[reading.name] = int(np.count_nonzero(shift))
        if getattr(layer, "bias", None) is not None:
            assign([(layer.bias, added)])
        else:
            replaced[reading.name], biases[f"{reading.name}/bias"] = with_bias(layer), added
    return (edited(model, replaced, biases) if replaced else model), count
