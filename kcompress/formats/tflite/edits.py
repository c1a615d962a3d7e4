"""Edits of a flatbuffer around the quantizer, for what that leaves in float or in 8 bits without need.

It has no integer NEG, so -x becomes -1 · x. It turns whole tensors back to floats for operators that only read a
shape, which the conversion of a model with a dynamic batch is full of. Its kernels of few levels take 8 bits.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from kcompress.formats.tflite.flatbuffer import operator_code, operators, schema
from kcompress.numerics.packing import least_bits, pack_levels


def multiply_for_neg(model: Any) -> None:
    """Replace every NEG of floats by MUL with -1."""
    factors: dict[int, int] = {}  # by the graph's identity
    code = None
    for graph, operator, kind in list(operators(model)):
        if kind != "NEG" or graph.tensors[operator.inputs[0]].type != schema().TensorType.FLOAT32:
            continue
        code = operator_code(model, "MUL", 1) if code is None else code
        if id(graph) not in factors:
            factors[id(graph)] = _scalar(model, graph, -1.0)
        operator.opcodeIndex = code
        operator.inputs = [int(operator.inputs[0]), factors[id(graph)]]
        operator.builtinOptionsType = schema().BuiltinOptions.MulOptions
        operator.builtinOptions = schema().MulOptionsT()


def take_shapes_of_integers(model: Any) -> None:
    """Let SHAPE operators read the shape of the integers, and drop each DEQUANTIZE that nothing reads then."""
    sources = {
        (id(graph), int(operator.outputs[0])): (operator, int(operator.inputs[0]))
        for graph, operator, kind in operators(model)
        if kind == "DEQUANTIZE"
    }
    for graph, operator, kind in operators(model):
        source = sources.get((id(graph), int(operator.inputs[0]))) if kind == "SHAPE" else None
        if source is not None:
            operator.inputs = [source[1]]
    read = {(id(g), int(index)) for g, operator, _ in operators(model) for index in operator.inputs}
    read |= {(id(graph), int(index)) for graph in model.subgraphs for index in graph.outputs}
    dead = {id(operator) for place, (operator, _) in sources.items() if place not in read}
    for graph in model.subgraphs:
        graph.operators = [operator for operator in graph.operators if id(operator) not in dead]


def narrow(model: Any, least: Mapping[str, int]) -> None:
    """Pack 8-bit kernels in the smallest type that holds their levels and that every operator which reads them runs.

    `least` gives the fewest bits by kind of operator, for its second input.
    """
    readers: dict[int, list[tuple[Any, int]]] = defaultdict(list)
    for graph, operator, kind in operators(model):
        for place, index in enumerate(operator.inputs):
            if index >= 0:
                tensor = graph.tensors[index]
                readers[tensor.buffer].append((tensor, least.get(kind, 8) if place == 1 else 8))
    for number, found in readers.items():
        buffer = model.buffers[number]
        if buffer.data is None or not all(tensor.type == schema().TensorType.INT8 for tensor, _ in found):
            continue
        levels = np.asarray(buffer.data).view(np.int8)
        bits = max(least_bits(levels), *(fewest for _, fewest in found))
        buffer.data = pack_levels(levels, bits)
        for tensor, _ in found:
            tensor.type = getattr(schema().TensorType, f"INT{bits}")


def _scalar(model: Any, graph: Any, value: float) -> int:
    """Add a float32 constant without dimensions; its index."""
    buffer, tensor = schema().BufferT(), schema().TensorT()
    buffer.data = np.frombuffer(np.float32(value).tobytes(), np.uint8)
    tensor.shape, tensor.type, tensor.buffer = np.zeros(0, np.int32), schema().TensorType.FLOAT32, len(model.buffers)
    tensor.name = f"factor_{value:g}".encode()
    model.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
