"""What passes that rescale channels of linear layers share: which layers may be edited, and the edited model.

Arithmetic is in float64 throughout and rounded once, when the new model is made.
"""

from typing import Any

import numpy as np

from kcompress.model.flow import Call, Flow, flow
from kcompress.model.keras_quantization import is_altered
from kcompress.model.linear import Linear, Weights, linear, with_bias
from kcompress.model.rebuild import edited
from kcompress.model.view import Node, nodes
from kcompress.quantization.plan import QuantPlan


class Edits:
    """The new weights of a model's layers, gathered before the model is built anew; the model itself is left alone."""

    def __init__(self, model: Any, plan: QuantPlan) -> None:
        self.model, self.plan = model, plan
        self.flow: Flow = flow(model)
        self.nodes = {id(node.layer): node for node in nodes(model)}
        self._new: dict[str, Weights] = {}
        self._replaced: dict[str, Any] = {}

    def node(self, layer: Any) -> Node:
        return self.nodes[id(layer)]

    def weights(self, layer: Any) -> Weights:
        """Its weights by name as they are by now, in float64."""
        node = self.node(layer)
        if node.name not in self._new:
            return {w.name: w.values.astype(np.float64) for w in node.weights}
        return self._new[node.name]

    def put(self, layer: Any, weights: Weights) -> None:
        """Give a layer new weights; one that had no bias gets one if there is one among them."""
        node = self.node(layer)
        self._new[node.name] = weights
        if "bias" in weights and "bias" not in {w.name for w in node.weights}:
            self._replaced[node.name] = with_bias(layer)

    def replace(self, layer: Any, other: Any) -> None:
        """Put a new layer in the place of an old one."""
        self._replaced[self.node(layer).name] = other

    def model_now(self) -> Any:
        """A new model with all the edits."""
        values = {f"{name}/{key}": array for name, new in self._new.items() for key, array in new.items()}
        return edited(self.model, self._replaced, values)

    def objection(self, layer: Any) -> str | None:
        """Why the weights of a layer are not to be changed; None if they may be."""
        node = self.node(layer)
        if not self.flow.calls_of(layer):
            return f"{node.name} is not called by the model itself but inside another layer"
        if not self.flow.owns_its_weights(layer):
            return f"another layer uses the weights of {node.name} too"
        for weight in node.weights:
            if node.qualified(weight) in self.plan.weights:
                return f"{weight.name} of {node.name} is on a quantization grid already"
            if not weight.variable.dtype.startswith(("float", "bfloat")):
                return f"{weight.name} of {node.name} is stored as {weight.variable.dtype}"
        if is_altered(layer):
            return f"{node.name} was quantized by Keras or has LoRA weights"
        return None

    def as_linear(self, call: Call) -> Linear | str:
        """How the called layer is linear, or why it can't be edited as such."""
        if call.name is None or not getattr(call.operation, "weights", ()):
            return f"{call.label}, which has no weights"
        if self.node(call.operation).is_custom:
            return f"{call.name}, a custom layer"
        found = linear(call.operation)
        if found is None:
            return f"{call.name}, of type {call.kind}"
        if any(len(each.inputs) != 1 for each in self.flow.calls_of(call.operation)):
            return f"{call.name}, which takes several inputs"
        return found


def activation_name(layer: Any) -> str:
    """`relu` for `keras.activations.relu`; the class for an activation that is a layer."""
    return str(getattr(layer.activation, "__name__", type(layer.activation).__name__))
