"""A model as an integer `.tflite` file, and what such a file must be like."""

from collections import Counter
from pathlib import Path
from typing import Any

from kcompress import data
from kcompress.formats import WriteOptions, formats
from kcompress.formats.keras.runner import KerasRunner
from kcompress.formats.tflite.description import float_operators
from kcompress.formats.tflite.flatbuffer import operators, schema
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import QuantPlan

SAME = ("CONCATENATION", "RESHAPE", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "STRIDED_SLICE", "TRANSPOSE")
"""Operators that LiteRT runs on 8-bit integers only if inputs and output have one scale."""
FIXED = {"SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
"""Operators whose 8-bit output must have this scale and zero point."""


def write(model: Any, x: Any, path: Path, **fields: Any) -> tuple[Any, Any]:
    """Write in integers, calibrated on `x`. Gives the model whose weights lie on the grid, and what the writer said."""
    step = find("quantize.int8")(samples=len(x), **fields)
    splits = data.resolve(calibration=x)
    samples = splits.calibration
    assert samples is not None
    result = step.apply(find("fold.batchnorm")().apply(model, Context()).model, Context(data=splits, target="tflite"))
    plan = QuantPlan(result.formats, result.activations)
    options = WriteOptions(None, samples.fit_to(KerasRunner(model).inputs))
    return result.model, formats()["tflite"].write(result.model, plan, path, options)


def faults(model: Any) -> list[str]:
    """What keeps a static 8-bit flatbuffer with float inputs and outputs from being one that computes in integers."""
    found = [f"{kind} in float ({count})" for kind, count in float_operators(model).items()]
    types = schema().TensorType
    edges = Counter()
    for graph, operator, kind in operators(model):
        every = [int(i) for i in (*operator.inputs, *operator.outputs) if i >= 0]
        if any(graph.tensors[i].type == types.FLOAT32 for i in every):
            edges[kind] += 1
        moved = [_grid(graph.tensors[i]) for i in every if graph.tensors[i].type == types.INT8]
        if kind in SAME and len(set(moved)) > 1:
            found.append(f"{kind} with different scales")
        if kind in FIXED and moved[-1] != FIXED[kind]:
            found.append(f"{kind} with the scale and zero point {moved[-1]}")
    if edges != {"QUANTIZE": 1, "DEQUANTIZE": 1}:
        found.append(f"more between float and integer than the edges: {dict(edges)}")
    return found


def _grid(tensor: Any) -> tuple[float, int]:
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
