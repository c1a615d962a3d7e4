"""What an `.onnx` file holds: weights by type, operators by kind.

A weight is one number of the model, however it is packed. What belongs to its storage, scales, zero points and tables
that bytes are looked up in, counts in bytes only.
"""

import math
from collections import Counter
from typing import Any

import numpy as np

from kcompress.formats.base import Description, Row, Runner

NO_WEIGHTS = ("INT64", "INT32", "BOOL", "STRING")  # sizes and indices, unless a scale says otherwise
ZERO_POINTS = {
    "QuantizeLinear": {0: 2},
    "DequantizeLinear": {0: 2},
    "MatMulInteger": {0: 2, 1: 3},
    "ConvInteger": {0: 2, 1: 3},
}
"""Operators that read integers, and at which of their inputs the zero point of another one is."""


def describe(format_name: str, proto: Any, runner: Runner) -> Description:
    import onnx

    nodes = list(proto.graph.node)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    constants |= {
        node.output[0]: a.t for node in nodes if node.op_type == "Constant" for a in node.attribute if a.HasField("t")
    }
    overhead, zeros, tables = _storage(nodes), _zero_points(nodes), _packed(nodes, constants)
    weights: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    stored = 0
    for name, tensor in constants.items():
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        if tensor.external_data or (kind in NO_WEIGHTS and name not in zeros):
            continue
        values = onnx.numpy_helper.to_array(tensor)
        stored += len(tensor.raw_data) or values.nbytes
        if name in overhead:
            continue
        if name in tables:
            table, count = tables[name]
            values = onnx.numpy_helper.to_array(constants[table])[values].ravel()[:count]
            kind = f"{8 // constants[table].dims[1]}-bit"
        zero = constants.get(zeros.get(name, ""))
        offset = onnx.numpy_helper.to_array(zero).flat[0] if zero is not None and math.prod(zero.dims) else 0
        weights[kind] += values.size
        alive[kind] += int(np.count_nonzero(values != offset))
    operators = Counter(node.op_type for node in nodes)
    rows = [Row(f"{kind} weights", "tensors", "", weights[kind], alive[kind]) for kind in sorted(weights)]
    rows += [Row(name, f"{count} operators", "", 0, 0) for name, count in sorted(operators.items())]
    return Description(format_name, runner.inputs, runner.outputs, weights.total(), alive.total(), stored, tuple(rows))


def _zero_points(nodes: list[Any]) -> dict[str, str]:
    """Integer value to the value that is its zero point, which may be absent."""
    return {
        node.input[place]: node.input[zero] if len(node.input) > zero else ""
        for node in nodes
        for place, zero in ZERO_POINTS.get(node.op_type, {}).items()
    }


def _storage(nodes: list[Any]) -> set[str]:
    """Values that say how to read weights and activations: scales, zero points and tables."""
    places = ((node, place) for node in nodes for place in ZERO_POINTS.get(node.op_type, {}).values())
    found = {name for node, place in places for name in node.input[place : place + 1]}
    whole = {node.output[0] for node in nodes if node.op_type == "Cast"}
    whole |= {node.output[1] for node in nodes if node.op_type == "DynamicQuantizeLinear"}
    for node in nodes:
        scaled = node.op_type == "Mul" and node.input[0] in whole
        if scaled or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            found.add(node.input[1])
        elif node.op_type == "Gather" and node.input[1] in whole:
            found.add(node.input[0])
    return found


def _packed(nodes: list[Any], constants: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Bytes that are looked up in a table: the table, and how many numbers they hold."""
    import onnx

    makers = {node.output[0]: node for node in nodes if node.output}
    readers = {name: node for node in nodes for name in node.input}
    found = {}
    for node in nodes:
        if node.op_type != "Gather":
            continue
        cast, table = makers.get(node.input[1]), constants.get(node.input[0])
        if cast is None or cast.op_type != "Cast" or table is None or table.dims[0] != 256:
            continue
        bytes_, last = cast.input[0], node
        while (reader := readers.get(last.output[0])) is not None and reader.op_type in ("Reshape", "Slice"):
            last = reader
        if bytes_ in constants and last.op_type == "Reshape":
            shape = onnx.numpy_helper.to_array(constants[last.input[1]])
            found[bytes_] = node.input[0], int(np.prod(shape))
    return found
