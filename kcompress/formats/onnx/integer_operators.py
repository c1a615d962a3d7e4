"""Which operators of a prepared ONNX graph are to compute in integers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kcompress.formats.onnx.graph import Graph, attributes
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


def wanted(proto: Any) -> set[str]:
    """The tensors of a prepared graph whose ranges are needed."""
    graph = Graph(proto)
    found = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    for node in graph.nodes.values():
        if node.op_type in COMPUTING | MOVING:
            found.update((*node.input, *node.output))
    return {name for name in found if name in graph.floats and name not in graph.constants}


def chosen_operators(graph: Graph, kernels: Mapping[str, StoredTensor], ranges: Ranges) -> set[int]:
    """Numbers of the operators to compute in integers; one that moves values, where a neighbour is such.

    A Relu or Clip that needs no operator of its own is taken out of the graph.
    """
    nodes = graph.nodes
    chosen = {n for n, node in nodes.items() if node.op_type in COMPUTING and _computable(graph, node, kernels, ranges)}
    moving = [n for n, node in nodes.items() if node.op_type in MOVING and _movable(graph, node, ranges)]
    for order in (moving, reversed(moving)):
        for number in order:
            node = nodes[number]
            readers = {reader for name in node.output for reader in graph.readers[name]}
            if chosen & {graph.makers.get(node.input[0]), *readers}:
                chosen.add(number)
    _absorb(graph, chosen)
    return chosen


def _computable(graph: Graph, node: Any, kernels: Mapping[str, StoredTensor], ranges: Ranges) -> bool:
    """Whether all values have ranges and all constants are what the integer kernel takes."""
    floats = [(place, name) for place, name in enumerate(node.input) if name in graph.floats]
    constants = [(place, name) for place, name in floats if name in graph.constants]
    if not {node.output[0], *(name for _, name in floats)} - graph.constants.keys() <= ranges.keys():
        return False
    if node.op_type in KERNELS and constants:
        return graph.product(node, kernels) is not None
    return len(constants) < len(floats)


def _movable(graph: Graph, node: Any, ranges: Ranges) -> bool:
    if not {node.input[0], *node.output} <= ranges.keys():
        return False
    settings = attributes(node)
    if node.op_type == "Resize":
        return bool(settings.get("mode", b"nearest") == b"nearest")
    if node.op_type == "Pad":
        value = graph.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
        return bool(settings.get("mode", b"constant") == b"constant" and value is not None and not value.any())
    return node.op_type != "Clip" or all(name in graph.constants for name in node.input[1:] if name)


def limits(graph: Graph, node: Any) -> tuple[float, float]:
    """Between which values a Relu or a Clip lets through."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    ends = [-np.inf, np.inf]
    for place, name in enumerate(node.input[1:3]):
        if name:
            ends[place] = float(graph.constants[name])
    return ends[0], ends[1]


def _absorb(graph: Graph, chosen: set[int]) -> None:
    """Leave out a Relu or Clip that alone reads a computed output: the range of what it makes says as much."""
    for number, node in list(graph.nodes.items()):
        if number not in chosen or node.op_type not in ("Relu", "Clip"):
            continue
        source = node.input[0]
        maker = graph.makers.get(source)
        if maker not in chosen or graph.nodes[maker].op_type not in COMPUTING - FIXED.keys():
            continue
        low, high = limits(graph, node)
        if low <= 0 <= high and graph.readers[source] == [number] and source not in graph.outputs:
            graph.bypass(number)
            chosen.discard(number)
