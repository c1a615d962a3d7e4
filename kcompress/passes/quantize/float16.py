"""Store kernels as float16: half the bytes, 11 significant bits (IEEE 754 binary16), rounded to nearest even."""

from typing import Any

import numpy as np

from kcompress.graph.rebuild import assign, copy
from kcompress.graph.view import Node, Weight
from kcompress.layers.plan import FLOAT16
from kcompress.numerics.storage import FLOAT16_MAX, on_float16_grid, to_float16_grid
from kcompress.passes.base import Change, Context, Pass, PassResult


class Float16(Pass):
    """Store kernels as float16: half the bytes, three decimal digits; computation stays in float32.

    Works on all kernels of Dense, EinsumDense, convolutions, Embedding, recurrent cells and attention. Custom layers
    only where they are named. A `.tflite` or `.onnx` file holds float16 tensors, a `.keras` file float16 data sets.
    """

    def concerns(self, node: Node, named: bool) -> bool | str:
        weights = self.storable(node)
        if not weights:
            return False
        if node.is_custom and not named:
            return "a custom layer; name it in layers or in a rule to store it as float16"
        for weight in weights:
            if weight.variable.dtype != "float32":
                return f"{weight.name} is stored as {weight.variable.dtype} already"
            if not np.isfinite(weight.values).all():
                return f"{weight.name} has values that are no finite numbers"
            if float(np.abs(weight.values).max(initial=0)) > FLOAT16_MAX:
                return f"{weight.name} has values beyond {FLOAT16_MAX:g}, the largest float16"
        return True

    def storable(self, node: Node) -> tuple[Weight, ...]:
        """The kernels; of a custom layer, the weights of two or more dimensions that are no whole numbers."""
        if not node.is_custom:
            return node.kernels
        return tuple(w for w in node.weights if len(w.variable.shape) >= 2 and "float" in w.variable.dtype)

    def run(self, model: Any, ctx: Context) -> PassResult:
        twin = copy(model)
        selection = self.select(twin)
        changes, formats = [], {}
        for node, _ in selection.chosen:
            weights = self.storable(node)
            rounded = sum(0 if on_float16_grid(w.values) else 1 for w in weights)
            assign((w.variable, to_float16_grid(w.values)) for w in weights)
            formats.update({node.qualified(w): FLOAT16 for w in weights})
            already = "" if rounded else "; its values were exact in float16 already"
            changes.append(Change(node.name, f"{', '.join(w.name for w in weights)} as float16{already}"))
        return PassResult(twin, tuple(changes), selection.skipped, formats)
