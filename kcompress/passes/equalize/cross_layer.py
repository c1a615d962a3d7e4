"""Even out the ranges of channels between one layer and the next, which leaves the model's outputs as they are.

With f(s x) = s f(x) for s > 0, as for ReLU, W2 f(W1 x + b1) = (W2 S) f(S^-1 W1 x + S^-1 b1) for a diagonal S. With
s = sqrt(r1 r2) / r2, where r1 and r2 are the largest magnitudes of a channel's weights on either side, both become
sqrt(r1 r2). Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and Bias
Correction", 2019.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from kcompress.model.flow import Call
from kcompress.model.linear import Array, Linear, linear
from kcompress.model.view import Node
from kcompress.passes.base import Change, Context, Pass, PassResult, Skip
from kcompress.passes.edits import Edits, activation_name
from kcompress.passes.equalize._links import Channels, is_homogeneous, link

TOLERANCE = 1e-3


class EqualizeCrossLayer(Pass):
    """Even out weight ranges of channels between consecutive layers; outputs are the same.

    Quantization with one scale for a whole kernel then loses less. Works on Dense, EinsumDense with a matrix, and
    convolutions, also depthwise, separable and transposed ones, between which there are only ReLU, leaky ReLU, pooling,
    padding, cropping, resizing and flattening. Fold batch normalization first. Source: Nagel, van Baalen, Blankevoort
    and Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019.
    """

    iterations: int = Field(20, ge=1, le=1000)
    """The number of times to go over all pairs of layers, such as 20; fewer once no scale is off by 0.1 % any more."""

    def concerns(self, node: Node, named: bool) -> bool | str:
        if node.is_custom:
            return "a custom layer, whose channels are not known" if named and node.weights else False
        return linear(node.layer) is not None

    def run(self, model: Any, ctx: Context) -> PassResult:
        selection, edits = self.select(model), Edits(model, ctx.plan)
        layers = [node.layer for node, _ in selection.chosen]
        allowed = set(map(id, layers))
        found = {id(layer): _partner(edits, layer, allowed) for layer in layers}
        pairs = [pair for pair in found.values() if isinstance(pair, Pair)]
        pairs_of: dict[int, list[Pair]] = defaultdict(list)
        for pair in pairs:
            pairs_of[id(pair.first.layer)].append(pair)
            pairs_of[id(pair.second.layer)].append(pair)
        before = {id(layer): edits.weights(layer) for layer in layers}
        settings = {
            id(node.layer): own.iterations for node, own in selection.chosen if isinstance(own, EqualizeCrossLayer)
        }
        _equalize(edits, pairs, settings)
        changes: list[Change] = []
        skipped = list(selection.skipped)
        for node, _ in selection.chosen:
            own, old, new = pairs_of[id(node.layer)], before[id(node.layer)], edits.weights(node.layer)
            names = " and ".join(edits.node(pair.other(node.layer)).name for pair in own)
            if any(np.any(values != old[key]) for key, values in new.items()):
                first, last = (_ratio(own[-1].ranges(node.layer, weights)) for weights in (old, new))
                changes.append(Change(node.name, f"with {names}: range ratio {first:.3g} to {last:.3g}"))
            elif own:
                skipped.append(Skip(node.name, f"its channels have the same ranges as those of {names} already"))
            else:
                skipped.append(Skip(node.name, f"{found[id(node.layer)]}, and no layer before it fits either"))
        return PassResult(edits.model_now(), tuple(changes), tuple(skipped))


@dataclass(frozen=True)
class Pair:
    """Two consecutive layers; `where` holds for each input channel of the second which output of the first it is."""

    first: Linear
    second: Linear
    where: Array

    def other(self, layer: Any) -> Any:
        return self.second.layer if layer is self.first.layer else self.first.layer

    def ranges(self, layer: Any, weights: Any) -> Array:
        """The range of each channel between the two, in the weights of one of them."""
        if layer is self.first.layer:
            return self.first.output_ranges(weights)
        found = np.zeros(int(self.where.max(initial=-1)) + 1)
        np.maximum.at(found, self.where, self.second.input_ranges(weights))
        return found


def _equalize(edits: Edits, pairs: Sequence[Pair], iterations: dict[int, int]) -> None:
    """Go over all pairs until none is off any more, since a layer in the middle of a chain belongs to two."""
    for turn in range(max(iterations.values(), default=0)):
        moved = False
        for pair in pairs:
            first, second = edits.weights(pair.first.layer), edits.weights(pair.second.layer)
            r1, r2 = pair.ranges(pair.first.layer, first), pair.ranges(pair.second.layer, second)
            scales = np.ones_like(r1)
            np.sqrt(r1 / np.where(r2 > 0, r2, 1), out=scales, where=(r1 > 0) & (r2 > 0))
            if turn < iterations[id(pair.first.layer)] and np.any(np.abs(np.log(scales)) > TOLERANCE):
                edits.put(pair.first.layer, pair.first.scale_outputs(first, 1 / scales))
                edits.put(pair.second.layer, pair.second.scale_inputs(second, scales[pair.where]))
                moved = True
        if not moved:
            return


def _ratio(ranges: Array) -> float:
    """The largest range over the smallest, channels of zeros left out."""
    some = ranges[ranges > 0]
    return float(some.max() / some.min()) if some.size else 1.0


def _partner(edits: Edits, layer: Any, allowed: set[int]) -> Pair | str:
    """The pair of a layer and the only one that its outputs go to, or why there is none."""
    name = edits.node(layer).name
    problem = edits.objection(layer) or _not_finite(edits, layer)
    calls = edits.flow.calls_of(layer)
    first = problem or edits.as_linear(calls[0])
    if isinstance(first, str):
        return first
    if not is_homogeneous(layer.activation):
        return f"its activation {activation_name(layer)} does not pass a scale on"
    ends = [_follow(edits, first, call) for call in calls]
    wrong = [end for end in ends if isinstance(end, str)]
    if wrong:
        return wrong[0]
    found = [end for end in ends if not isinstance(end, str)]
    end, channels = found[0]
    second = edits.as_linear(end)
    if isinstance(second, str):
        return f"its output goes to {second}"
    other = edits.node(second.layer).name
    problem = edits.objection(second.layer) or _not_finite(edits, second.layer)
    if problem:
        return problem
    if id(second.layer) not in allowed:
        return f"{other} behind it is left alone"
    if second.layer is layer or {id(call) for call, _ in found} != {id(c) for c in edits.flow.calls_of(second.layer)}:
        return f"{other} is called on other inputs than the output of {name}"
    rank = len(edits.flow.shapes[end.inputs[0]])
    if any(c.axis != second.axis % rank or not np.array_equal(c.where, channels.where) for _, c in found):
        return f"{other} takes its channels along another axis"
    return Pair(first, second, channels.where)


def _follow(edits: Edits, first: Linear, call: Call) -> tuple[Call, Channels] | str:
    """The call that uses the output of this one, past all that passes a scale on, and where the channels lie there."""
    flow, tensor = edits.flow, call.outputs[0]
    count = first.outputs(edits.weights(first.layer))
    channels = Channels(first.axis % len(flow.shapes[tensor]), np.arange(count))
    while True:
        users = flow.consumers[tensor]
        if tensor in flow.outputs:
            return "its output is an output of the model"
        if len(users) != 1:
            return f"its output goes to {' and '.join(user.label for user in users)}" if users else "nothing uses it"
        (user,) = users
        passed = link(user, flow.shapes[tensor], channels)
        if passed is None:
            return user, channels
        if isinstance(passed, str):
            return passed
        channels, tensor = passed, user.outputs[0]


def _not_finite(edits: Edits, layer: Any) -> str | None:
    finite = all(np.isfinite(values).all() for values in edits.weights(layer).values())
    return None if finite else f"{edits.node(layer).name} has weights that are no finite numbers"
