"""Which channels stay because of what a recipe asks for, or of the grid that a weight lies on."""

from typing import Any

from kcompress.channels.channels import Channels
from kcompress.model.view import nodes
from kcompress.passes.selection import Selection
from kcompress.quantization.plan import QuantPlan


def protected(model: Any, channels: Channels, selection: Selection) -> dict[int, str]:
    """Unit to the reason why it stays: pinned in the graph, or made by a layer that is not to be cut."""
    reasons = dict(channels.units.pinned)
    skipped = {skip.layer: skip.reason for skip in selection.skipped}
    chosen = {node.name for node, _ in selection.chosen}
    for node in nodes(model):
        if not node.kernels or node.name in chosen:
            continue
        why = skipped.get(node.name)
        text = f"{node.name} is not selected" if why is None else f"{node.name} is left alone: {why}"
        for unit in channels.own(node).tolist():
            reasons.setdefault(unit, text)
    return reasons


def unscalable(model: Any, channels: Channels, plan: QuantPlan) -> dict[int, str]:
    """Unit to the reason why it stays where a weight on a grid of floats would have to be rescaled without it."""
    found: dict[int, str] = {}
    for node in nodes(model):
        for weight in node.weights:
            name, slices = node.qualified(weight), channels.slices.get(id(weight.variable))
            on_floats = name in plan.weights and plan.weights[name].kind == "float"
            if on_floats and slices is not None and slices.rescale is not None:
                why = f"{name}, on a float16 grid, would have to be rescaled"
                found.update(dict.fromkeys(channels.units.of(slices.rescale[0]).tolist(), why))
    return found
