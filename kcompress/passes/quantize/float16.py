"""Store kernels as float16: half the bytes, 11 significant bits (IEEE 754 binary16), rounded to nearest even."""

from typing import Any

import numpy as np

from kcompress.model.rebuild import assign, copy
from kcompress.model.sqnr import sqnr_db
from kcompress.model.view import Node
from kcompress.numerics.storage import FLOAT16_MAX, on_float16_grid, to_float16_grid
from kcompress.passes.base import Change, Context, PassResult, Skip
from kcompress.passes.quantize._grid import KernelPass
from kcompress.quantization.plan import FLOAT16


class QuantizeFloat16(KernelPass):
    """Store kernels as float16: half the bytes, three decimal digits; computation stays in float32.

    Works on all kernels of Dense, EinsumDense, convolutions, Embedding, recurrent cells and attention. Custom layers
    only where they are named. A `.tflite` or `.onnx` file holds float16 tensors, a `.keras` file float16 data sets.
    """

    purpose = "store it as float16"

    def concerns(self, node: Node, named: bool) -> bool | str:
        concern = super().concerns(node, named)
        for weight in self.kernels(node) if concern is True else ():
            if float(np.abs(weight.values).max(initial=0)) > FLOAT16_MAX:
                return f"{weight.name} has values beyond {FLOAT16_MAX:g}, the largest float16"
        return concern

    def run(self, model: Any, ctx: Context) -> PassResult:
        new = copy(model)
        selection = self.select(new)
        changes, skipped, formats = [], list(selection.skipped), {}
        for node, _ in selection.chosen:
            weights = self.kernels(node)
            if any((found := ctx.plan.weights.get(node.qualified(w))) and found.kind == "int" for w in weights):
                skipped.append(Skip(node.name, "its kernels lie on a grid of whole numbers already"))
                continue
            rounded = sum(0 if on_float16_grid(w.values) else 1 for w in weights)
            exact = np.concatenate([w.values.ravel().astype(np.float64) for w in weights])
            assign((w.variable, to_float16_grid(w.values)) for w in weights)
            lost = exact - np.concatenate([w.values.ravel() for w in weights])
            noise = sqnr_db(float((exact**2).sum()), float((lost**2).sum()))
            formats.update({node.qualified(w): FLOAT16 for w in weights})
            already = "" if rounded else "; its values were exact in float16 already"
            detail = f"{', '.join(w.name for w in weights)} as float16{already}"
            changes.append(Change(node.name, detail, {"bits": 16, "weight_sqnr_db": noise}))
        return PassResult(new, tuple(changes), tuple(skipped), formats)
