"""What a `.tflite` file holds: weights by type, operators by kind."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.base import Description, Row, Runner
from kcompress.formats.tflite.flatbuffer import operators, schema

EDGES = ("QUANTIZE", "DEQUANTIZE")


def describe(format_name: str, model: Any, runner: Runner) -> Description:
    kinds = {value: name for name, value in vars(schema().TensorType).items() if not name.startswith("_")}
    weights: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    stored = 0
    seen: set[int] = set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data) or tensor.buffer in seen or not _is_weight(kinds[tensor.type], tensor):
                continue
            seen.add(tensor.buffer)
            weights[kinds[tensor.type]] += int(np.prod(tensor.shape, dtype=np.int64))
            alive[kinds[tensor.type]] += _nonzero(kinds[tensor.type], np.asarray(data), tensor)
            stored += len(data)
    kinds_of = Counter(kind for _, _, kind in operators(model))
    rows = [Row(f"{kind} weights", "tensors", "", weights[kind], alive[kind]) for kind in sorted(weights)]
    rows += [Row(name, f"{count} operators", "", 0, 0) for name, count in sorted(kinds_of.items())]
    return Description(format_name, runner.inputs, runner.outputs, weights.total(), alive.total(), stored, tuple(rows))


def _is_weight(kind: str, tensor: Any) -> bool:
    quantized = tensor.quantization is not None and tensor.quantization.scale is not None
    return kind in ("FLOAT32", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT4", "INT2") or (
        kind in ("INT16", "INT32", "INT64") and quantized
    )


def _nonzero(kind: str, data: NDArray[Any], tensor: Any) -> int:
    """Values that stand for something other than zero."""
    dtypes = {
        "FLOAT32": "f4",
        "FLOAT16": "f2",
        "INT16": "i2",
        "INT32": "i4",
        "INT64": "i8",
        "INT8": "i1",
        "UINT8": "u1",
    }
    if kind in dtypes:
        zero = tensor.quantization.zeroPoint if tensor.quantization is not None else None
        offset = int(zero[0]) if zero is not None and len(zero) else 0
        return int(np.count_nonzero(np.frombuffer(data.tobytes(), dtypes[kind]) != offset))
    if kind == "BFLOAT16":
        return int(np.count_nonzero(np.frombuffer(data.tobytes(), "u2") & 0x7FFF))
    bits = 4 if kind == "INT4" else 2
    fields = [(data >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return int(sum(np.count_nonzero(field) for field in fields))


def float_operators(model: Any) -> Counter[str]:
    """How many operators of each kind take or give float values.

    Those between float and integer do not count, nor does SHAPE, which looks at no value.
    """
    floats = {getattr(schema().TensorType, kind) for kind in ("FLOAT64", "FLOAT32", "FLOAT16", "BFLOAT16")}
    return Counter(
        kind
        for graph, operator, kind in operators(model)
        if kind not in (*EDGES, "SHAPE")
        and any(graph.tensors[i].type in floats for i in (*operator.inputs, *operator.outputs) if i >= 0)
    )
