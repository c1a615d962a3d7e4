"""Find a plan's weights among the tensors of a converted file."""

from typing import Any

from kcompress.formats.base import Tensors
from kcompress.graph.view import nodes
from kcompress.layers.plan import QuantPlan
from kcompress.numerics.matching import Wanted, match


def match_plan(model: Any, plan: QuantPlan, tensors: Tensors) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Tensor name to the qualified names of the planned weights in it, and the planned weights that no tensor holds."""
    wanted = {}
    for node in nodes(model):
        for weight in node.weights:
            if (name := node.qualified(weight)) in plan.weights:
                axes = weight.axes.outputs if weight.axes else (len(weight.variable.shape) - 1,)
                wanted[name] = Wanted(weight.values, axes)
    found = match(tensors, wanted)
    return found, tuple(sorted(set(wanted) - {name for names in found.values() for name in names}))
