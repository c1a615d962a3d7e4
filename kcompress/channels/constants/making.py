"""Numbers through layers that make channels: those that read nothing that varies, and states that stay zero."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.constants.evaluation import Evaluation, as_array
from kcompress.channels.constants.keeping import only_zeros
from kcompress.channels.constants.numbers import Numbers, along, at
from kcompress.channels.rules.visit import is_elementwise
from kcompress.model.linear import Linear, Weights
from kcompress.model.linear import linear as as_linear
from kcompress.model.view import own_name

CANDIDATE = {"SimpleRNNCell": 0, "GRUCell": 2, "LSTMCell": 2}
"""Which gate of a cell makes the new state: where it gives 0 the state, 0 at first, stays 0."""


def weights(layer: Any) -> Weights:
    return {own_name(variable): np.asarray(variable) for variable in layer.weights}


def nonzero(found: Linear, given: Weights) -> dict[str, NDArray[np.float32]]:
    """Kernels with their spatial positions reduced to one: 1 where any position has a weight other than zero."""
    kernels = {name: given[name] for name, _ in (found.first, found.last)}
    around = {name: tuple(range(kernel.ndim - 2)) for name, kernel in kernels.items()}
    return {name: (kernel != 0).any(around[name], keepdims=True).astype(np.float32) for name, kernel in kernels.items()}


def shifted(found: Linear, given: Weights, numbers: Numbers) -> Numbers:
    """The bias that replaces inputs which always are these numbers; where they are 0, kernels are not read."""
    name, kind = found.first
    meets = numbers.nonzero()[0]
    bias = {"bias": given["bias"].astype(np.float64)} if "bias" in given else {}
    if not meets.size:
        return bias.get("bias", np.zeros(found.outputs(given)))
    kernels = {name: given[name] for name in (found.first[0], found.last[0])}
    if kind in ("matrix", "transposed") or (kind == "conv" and found.groups == 1):
        kernels[name] = kernels[name].take(meets, {"matrix": 0, "transposed": -1}.get(kind, -2))
        numbers = numbers[meets]
    exact = {name: kernel.astype(np.float64) for name, kernel in kernels.items()}
    with np.errstate(all="ignore"):  # whoever calls looks for what is not finite
        return np.asarray(found.shift_inputs({**exact, **bias}, numbers).get("bias", np.zeros(found.outputs(given))))


def padding(name: str, found: Linear) -> str:
    """Why a number that an input always is does not add the same to an output everywhere."""
    if found.first[1] == "transposed":
        return f"{name}, which is transposed, does not use them alike everywhere"
    return f"{name} pads them with zeros"


def linear(e: Evaluation) -> list[Numbers]:
    """An output that no varying input has a weight for is the bias plus what constant inputs add to it."""
    found, layer = as_linear(e.layer), e.layer
    if found is None or len(e.given) > 1 or not is_elementwise(layer.activation):
        return e.unknown()
    import keras

    own, rank = weights(layer), len(e.shapes[0])
    given = along(e.given[0], found.axis, found.inputs(own))
    if found.reads_padding:
        given = only_zeros(e, found.axis, given, padding(e.label, found))
    varies = found.shift_inputs(nonzero(found, own), np.isnan(given).astype(np.float32)).get("bias")
    made = shifted(found, own, np.nan_to_num(given))
    made = as_array(layer.activation(keras.ops.convert_to_tensor(made, layer.compute_dtype)))
    blind = np.isfinite(made) if varies is None else np.isfinite(made) & (varies == 0)
    return [at(rank, found.axis, np.where(blind, made, np.nan))]


def embedding(e: Evaluation) -> list[Numbers]:
    """A column of the table that holds one number."""
    table, rank = np.asarray(e.layer.embeddings).astype(np.float64), len(e.made[0])
    return [at(rank, rank - 1, along(table, 1, table.shape[1]))]


def recurrent(e: Evaluation) -> list[Numbers]:
    """Units whose state stays zero."""
    cell = getattr(e.layer, "cell", None)
    zero = None if cell is None else _zero_units(e, cell)
    if zero is None:
        return e.unknown()
    return [at(len(shape), len(shape) - 1, np.where(zero, 0, np.nan)) for shape in e.made]


def _zero_units(e: Evaluation, cell: Any) -> NDArray[np.bool_] | None:
    """Which units stay zero; None where the state may start other than zero, or zero may become another number."""
    import keras

    gate = CANDIDATE.get(type(cell).__name__)
    if gate is None or len(e.given) > 1 or getattr(e.layer, "stateful", False):
        return None
    if not is_elementwise(cell.activation) or as_array(cell.activation(keras.ops.zeros((1,)))).any():
        return None
    part = slice(gate * cell.units, (gate + 1) * cell.units)
    kernel, back = (np.asarray(each)[:, part] != 0 for each in (cell.kernel, cell.recurrent_kernel))
    given = along(e.given[0], -1, len(kernel))
    zero = ~kernel[given != 0].any(axis=0)
    if getattr(cell, "bias", None) is not None:
        bias = np.asarray(cell.bias)
        zero &= (bias.reshape(-1, bias.shape[-1])[:, part] == 0).all(axis=0)
    while (back[~zero][:, zero]).any():  # also from states that may not be zero
        zero &= ~back[~zero].any(axis=0)
    return np.asarray(zero)


def bidirectional(e: Evaluation) -> list[Numbers]:
    """Units whose state stays zero, in both directions."""
    layer, (made, *rest) = e.layer, e.made
    if rest or layer.merge_mode not in ("concat", "sum", "ave"):
        return e.unknown()
    one, other = (recurrent(e.inner(each))[0] for each in (layer.forward_layer, layer.backward_layer))
    if layer.merge_mode != "concat":
        return [one + other]
    sizes = len(made) - 1, (made[-1] or 0) // 2
    return [np.concatenate([at(len(made), sizes[0], along(each, -1, sizes[1])) for each in (one, other)], -1)]
