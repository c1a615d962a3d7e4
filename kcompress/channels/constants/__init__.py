"""Channels that hold the same number at every position for every input, found by following numbers through a model.

Where the kernel of a convolution is zero for a filter, its output is the bias; batch normalization and an activation
make another number of that, and so on. The layers themselves are run on the numbers. The rules for channels tell which
layers work position by position, move elements or are linear. What is not known is taken to vary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.constants import keeping, making, moving
from kcompress.channels.constants.evaluation import Evaluation
from kcompress.channels.constants.numbers import Numbers, varying
from kcompress.channels.identities import Ids
from kcompress.channels.rules import (
    LAYERS,
    OPERATIONS,
    elementwise,
    linear,
    normalization,
    recurrent,
    selecting,
    shaping,
    wrapping,
)
from kcompress.channels.rules.visit import Rule
from kcompress.model.flow import Call, passes_on
from kcompress.model.keras_quantization import is_altered
from kcompress.model.kernels import is_keras

HANDLERS: dict[Rule | None, Callable[[Evaluation], list[Numbers]]] = {
    **dict.fromkeys((elementwise.broadcast, elementwise.merge), keeping.elementwise),
    **dict.fromkeys((elementwise.same, elementwise.activation, elementwise.prelu), keeping.alone),
    **dict.fromkeys((elementwise.scaled, elementwise.rescaling, normalization.batch), keeping.alone),
    elementwise.spatial: keeping.pooled,
    elementwise.reduction: keeping.reduced,
    **dict.fromkeys((linear.dense, linear.einsum_dense, linear.convolution, linear.transposed), making.linear),
    **dict.fromkeys((linear.depthwise, linear.separable), making.linear),
    linear.embedding: making.embedding,
    recurrent.recurrent: making.recurrent,
    wrapping.bidirectional: making.bidirectional,
    selecting.stack: moving.stacked,
    **dict.fromkeys((selecting.concatenate, selecting.split), moving.joined),
    **dict.fromkeys((shaping.permute, shaping.transpose, shaping.swapaxes, shaping.moveaxis), moving.permuted),
    **dict.fromkeys((shaping.flatten, shaping.reshape_layer, shaping.reshape, shaping.ravelled), moving.laid_out),
    **dict.fromkeys((shaping.repeat_vector, shaping.depth_to_space, shaping.space_to_depth), moving.laid_out),
    **dict.fromkeys((selecting.item, selecting.tile, selecting.repeat, selecting.flip), moving.laid_out),
}
"""How numbers are followed, for each rule by which channels are. Without an entry, what a layer makes varies."""


@dataclass(frozen=True)
class Constants:
    """The numbers of each tensor of the flow, and which channels lose them on the way, and why."""

    numbers: Mapping[int, Numbers]
    lost: tuple[tuple[Ids, str], ...]


def constants(channels: Channels) -> Constants:
    """Follow numbers through all calls in order; the time taken grows with the number of weights."""
    flow = channels.flow
    known = {number: varying(len(flow.shapes[number])) for number in flow.inputs}
    lost: list[tuple[Ids, str]] = []
    for call in flow.calls:
        given = tuple(known[number] for number in call.inputs)
        shapes, made = (tuple(flow.shapes[n] for n in numbers) for numbers in (call.inputs, call.outputs))
        evaluation = Evaluation(call, call.operation, given, shapes, made, _losing(channels, call, lost))
        known.update(zip(call.outputs, _followed(evaluation), strict=True))
    return Constants(known, tuple(lost))


def _followed(e: Evaluation) -> list[Numbers]:
    if passes_on(e.call):
        return list(e.given)
    if not is_keras(e.layer) or is_altered(e.layer):
        return e.unknown()
    handler = HANDLERS.get((OPERATIONS if e.call.name is None else LAYERS).get(e.call.kind))
    return e.unknown() if handler is None else handler(e)


def _losing(channels: Channels, call: Call, lost: list[Any]) -> Callable[[int, NDArray[np.bool_], str], None]:
    def lose(axis: int, where: NDArray[np.bool_], why: str) -> None:
        ids = channels.tensors[call.inputs[0]][axis]
        if ids is not None and where.any():
            lost.append((ids[where], why))

    return lose
