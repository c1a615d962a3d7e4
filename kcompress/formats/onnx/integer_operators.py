"""Which operators of a prepared ONNX graph are to compute in integers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kcompress.formats.onnx.graph import array, is_float, replace
from kcompress.formats.onnx.product import product
from kcompress.formats.stored_tensors import StoredTensor

COMPUTING = frozenset(
    (
        *("Conv", "Gemm", "MatMul", "Add", "Mul", "Concat"),
        *("AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid", "Softmax", "Where"),
    )
)
"""Operators that ONNX Runtime computes on integers of any scale."""
MOVING = frozenset(
    (
        *("MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Split", "Tile"),
        *("Expand", "DepthToSpace", "ReduceMax", "ReduceMin", "Resize", "Pad", "Identity", "Relu", "Clip"),
    )
)
"""Operators whose outputs are among their first input's values, zeros and limits: integers at the same scale."""
KERNELS = frozenset(("Conv", "Gemm", "MatMul"))
FIXED = {"Softmax": (0.0, 1.0), "Sigmoid": (0.0, 1.0)}
"""Ranges of outputs that are known without data."""

Ranges = Mapping[str, tuple[float, float]]


def wanted(graph: Any) -> set[str]:
    """The tensors of a prepared graph whose ranges are needed."""
    found = {*graph.inputs, *graph.outputs}
    for node in graph:
        if node.op_type in COMPUTING | MOVING:
            found.update((*node.inputs, *node.outputs))
    return {value.name for value in found if is_float(value) and array(value) is None}


def chosen_operators(graph: Any, kernels: Mapping[str, StoredTensor], ranges: Ranges) -> set[Any]:
    """The operators to compute in integers; one that moves values, where a neighbour is such.

    A Relu or Clip that needs no operator of its own is taken out of the graph.
    """
    chosen = {node for node in graph if node.op_type in COMPUTING and _computable(node, kernels, ranges)}
    moving = [node for node in graph if node.op_type in MOVING and _movable(node, ranges)]
    for order in (moving, reversed(moving)):
        for node in order:
            if chosen & {node.inputs[0].producer(), *node.successors()}:
                chosen.add(node)
    _absorb(graph, chosen)
    return chosen


def _computable(node: Any, kernels: Mapping[str, StoredTensor], ranges: Ranges) -> bool:
    """Whether all values have ranges and all constants are what the integer kernel takes."""
    floats = [value for value in node.inputs if is_float(value)]
    computed = [value for value in floats if array(value) is None]
    if not {value.name for value in (node.outputs[0], *computed)} <= ranges.keys():
        return False
    if node.op_type in KERNELS and len(computed) < len(floats):
        return product(node, kernels) is not None
    return bool(computed)


def _movable(node: Any, ranges: Ranges) -> bool:
    if not {value.name for value in (node.inputs[0], *node.outputs)} <= ranges.keys():
        return False
    if node.op_type == "Resize":
        return bool(node.attributes.get_string("mode", "nearest") == "nearest")
    if node.op_type == "Pad":
        value = array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(1)
        plain = node.attributes.get_string("mode", "constant") == "constant"
        return plain and value is not None and not value.any()
    return node.op_type != "Clip" or all(array(end) is not None for end in node.inputs[1:] if end is not None)


def limits(node: Any) -> tuple[float, float]:
    """Between which values a Relu or a Clip lets through."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    low, high = (array(end) for end in (*node.inputs[1:3], None, None)[:2])
    return -np.inf if low is None else float(low), np.inf if high is None else float(high)


def _absorb(graph: Any, chosen: set[Any]) -> None:
    """Leave out a Relu or Clip that alone reads a computed output: the range of what it makes says as much."""
    for node in [node for node in graph if node in chosen and node.op_type in ("Relu", "Clip")]:
        source, maker = node.inputs[0], node.inputs[0].producer()
        if maker not in chosen or maker.op_type not in COMPUTING - FIXED.keys():
            continue
        low, high = limits(node)
        if low <= 0 <= high and len(source.uses()) == 1 and not source.is_graph_output():
            replace(node, source)
            chosen.discard(node)
