"""Fold batch normalization into the linear layer before or after it.

At inference it is y = s x + t per channel, with s = gamma / sqrt(variance + epsilon) and t = beta - mean s. Behind a
layer W x + b that gives (s W) x + (s b + t); before one, (W s) x + (b + W t), the latter only where no padding mixes in
zeros. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
2018.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompress.model.flow import Call, passes_on
from kcompress.model.linear import Array, Linear
from kcompress.model.view import Node
from kcompress.passes.base import Change, Context, Pass, PassResult, Skip
from kcompress.passes.edits import Edits, activation_name


class FoldBatchNorm(Pass):
    """Fold batch normalization into the layer next to it; outputs are the same.

    Works on BatchNormalization directly behind or before Dense, EinsumDense with a matrix, and convolutions, also
    depthwise, separable and transposed ones; an Identity takes its place. Run it before passes that quantize or prune.
    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", 2018.
    """

    def concerns(self, node: Node, named: bool) -> bool | str:
        import keras

        if not isinstance(node.layer, keras.layers.BatchNormalization):
            return False
        return "a custom layer" if node.is_custom else True

    def run(self, model: Any, ctx: Context) -> PassResult:
        selection = self.select(model)
        folding = _Folding(Edits(model, ctx.plan))
        order = {id(call.operation): i for i, call in reversed(list(enumerate(folding.edits.flow.calls)))}
        left = sorted((node for node, _ in selection.chosen), key=lambda node: order.get(id(node.layer), -1))
        changes: list[Change] = []
        reasons: dict[str, str] = {}
        progress = True
        while progress:  # one that is folded lets those next to it see past it
            progress = False
            for node in list(left):
                outcome = folding.fold(node)
                if isinstance(outcome, Change):
                    changes.append(outcome)
                    left.remove(node)
                    progress = True
                else:
                    reasons[node.name] = outcome
        skipped = [*selection.skipped, *(Skip(node.name, reasons[node.name]) for node in left)]
        return PassResult(folding.edits.model_now(), tuple(changes), tuple(skipped))


class _Folding:
    """The layers folded so far, through which the others see."""

    def __init__(self, edits: Edits) -> None:
        self.edits, self.flow = edits, edits.flow
        self.folded: set[int] = set()

    def fold(self, node: Node) -> Change | str:
        """Fold one into its neighbours; a text tells why that can't be done exactly."""
        import keras

        layer = node.layer
        problem = self.edits.objection(layer)
        if problem:
            return problem.replace(f"of {node.name} ", "").replace(f"{node.name} is", "it is")
        calls = self.flow.calls_of(layer)
        if any(call.training for call in calls):
            return "it is called with training=True, so that it uses the statistics of the batch"
        scale, shift = factors(layer, self.edits.weights(layer))
        if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
            return "its weights or statistics give values that are no finite numbers"
        into = self.behind(layer, calls)
        if isinstance(into, str):
            after = self.before(layer, calls, bool(shift.any()))
            if isinstance(after, str):
                return f"{into}; {after}"
            into = after
            for linear in into:
                weights = linear.shift_inputs(self.edits.weights(linear.layer), shift)
                self.edits.put(linear.layer, linear.scale_inputs(weights, scale))
        else:
            for linear in into:
                weights = linear.scale_outputs(self.edits.weights(linear.layer), scale)
                self.edits.put(linear.layer, linear.shift_outputs(weights, shift))
        self.folded.add(id(layer))
        self.edits.replace(layer, keras.layers.Identity(dtype=layer.dtype_policy.name, trainable=layer.trainable))
        return Change(node.name, f"folded into {' and '.join(self.edits.node(each.layer).name for each in into)}")

    def behind(self, layer: Any, calls: Sequence[Call]) -> list[Linear] | str:
        """The layers that it can be folded into because it directly follows them."""
        found: dict[int, Linear] = {}
        for call in calls:
            source = self.source(call.inputs[0])
            if source is None:
                return "its input is an input of the model"
            linear = self.neighbour(call, source, "its input comes from")
            if isinstance(linear, str):
                return linear
            found[id(source.operation)] = linear
            if not _is_linear(source.operation):
                return f"{source.name} applies {activation_name(source.operation)} before it"
            for other in self.flow.calls_of(source.operation):
                ends = self.ends(other.outputs[0])
                if ends is None or any(end.operation is not layer for end in ends):
                    return f"{source.name}'s output is used elsewhere too"
        return list(found.values())

    def before(self, layer: Any, calls: Sequence[Call], shifts: bool) -> list[Linear] | str:
        """The layers that it can be folded into because they directly follow it."""
        found: dict[int, Linear] = {}
        for call in calls:
            ends = self.ends(call.outputs[0])
            if not ends:
                return "its output is an output of the model" if ends is None else "nothing uses its output"
            for end in ends:
                linear = self.neighbour(call, end, "its output goes to")
                if isinstance(linear, str):
                    return linear
                found[id(end.operation)] = linear
                if shifts and linear.reads_padding:
                    how = "is transposed" if linear.first[1] == "transposed" else "pads"
                    return f"{end.name} {how}, which is not exact behind it"
                for other in self.flow.calls_of(end.operation):
                    source = self.source(other.inputs[0])
                    if source is None or source.operation is not layer:
                        return f"{end.name} is called on other inputs too"
        return list(found.values())

    def neighbour(self, call: Call, other: Call, where: str) -> Linear | str:
        """The linear layer next to a normalization, or why nothing can be folded into it."""
        linear = self.edits.as_linear(other)
        if isinstance(linear, str):
            return f"{where} {linear}"
        problem = self.edits.objection(other.operation)
        if problem:
            return problem
        rank = len(self.flow.shapes[call.inputs[0]])
        if call.operation.axis % rank != linear.axis % rank:
            return f"it normalizes axis {call.operation.axis}, which is not the one of {other.name}'s channels"
        return linear

    def sees_past(self, call: Call) -> bool:
        return id(call.operation) in self.folded or passes_on(call)

    def source(self, tensor: int) -> Call | None:
        """The call that a tensor comes from, those left out that pass on what they get; None for a model's input."""
        call = self.flow.producers.get(tensor)
        while call is not None and self.sees_past(call):
            call = self.flow.producers.get(call.inputs[0])
        return call

    def ends(self, tensor: int) -> list[Call] | None:
        """The calls that use a tensor, directly or passed on; None if it is, or is passed on as, a model's output."""
        if tensor in self.flow.outputs:
            return None
        found: list[Call] = []
        for call in self.flow.consumers[tensor]:
            ends = self.ends(call.outputs[0]) if self.sees_past(call) else [call]
            if ends is None:
                return None
            found.extend(ends)
        return found


def factors(layer: Any, weights: Any) -> tuple[Array, Array]:
    """Scale and shift per channel of a BatchNormalization at inference."""
    with np.errstate(all="ignore"):  # whoever calls looks for what is not finite
        scale = weights.get("gamma", 1.0) / np.sqrt(weights["moving_variance"] + layer.epsilon)
        return scale, weights.get("beta", 0.0) - weights["moving_mean"] * scale


def _is_linear(layer: Any) -> bool:
    import keras

    return layer.activation is None or layer.activation is keras.activations.linear
