"""Where an `.onnx` file gets its integer arithmetic, and which operators still compute in floats.

`integers_static` works with ranges that are measured here on the float graph, `integers_dynamic` without. An operator
counts as an integer one if it still is one after ONNX Runtime's own optimizer.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.activation_ranges import measure_ranges
from kcompress.formats.base import Tensors, WriteOptions
from kcompress.formats.onnx.integer_operators import FIXED, MOVING, wanted
from kcompress.formats.onnx.integers_dynamic import to_dynamic_integers
from kcompress.formats.onnx.integers_static import LEVELS, to_static_integers
from kcompress.formats.onnx.order import copied, exchange
from kcompress.formats.onnx.runner import ORTRunner
from kcompress.formats.stored_tensors import StoredTensor
from kcompress.numerics import affine
from kcompress.quantization.plan import Activations

INTEGER = ("MatMulInteger", "MatMulIntegerToFloat", "ConvInteger", "DynamicQuantizeMatMul", "QGemm")
EDGES = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
"""Operators between float and integer."""
ALWAYS_FLOAT = ("DequantizeLinear", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
NEVER_FLOAT = (
    *("QuantizeLinear", "Shape", "Size", "ArgMax", "ArgMin", "NonZero"),
    *("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "IsNaN", "IsInf"),
)


def quantize_activations(
    proto: Any, stored: Mapping[str, StoredTensor], activations: Activations, options: WriteOptions
) -> dict[str, set[str]]:
    """Rewrite a prepared graph in place; planned kernels are `stored`, by tensor name.

    Returns by kernel the integer tensors that stand for it.
    """
    if activations.mode == "dynamic":
        return to_dynamic_integers(proto, stored)
    ranges = _ranges(proto, activations, options)
    if activations.io == "int8":
        _int8_edges(proto, ranges)
    return to_static_integers(proto, stored, ranges)


def _ranges(proto: Any, activations: Activations, options: WriteOptions) -> dict[str, tuple[float, float]]:
    """Tensor name to the range to represent, of inputs, outputs and all values between that may become integers."""
    import onnx

    assert options.calibration is not None  # the pass declares that it needs it
    names = wanted(proto)
    copy = copied(proto)
    inputs = {value.name for value in proto.graph.input}
    made = {value.name for value in proto.graph.output}
    for name in sorted(names - inputs - made):
        copy.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    runner = ORTRunner(copy.SerializeToString())

    def run(x: Tensors) -> Iterator[tuple[str, NDArray[Any]]]:
        for name, values in (*x.items(), *zip(runner.outputs, runner(x), strict=True)):
            if name in names:
                yield name, np.asarray(values, np.float32)

    ranges = measure_ranges(options.calibration, activations, run, runner.inputs)
    ranges.update({node.output[0]: FIXED[node.op_type] for node in proto.graph.node if node.op_type in FIXED})
    return ranges


def _int8_edges(proto: Any, ranges: dict[str, tuple[float, float]]) -> None:
    """Make the graph's float inputs and outputs int8; `ranges` then has those of the floats behind them, too."""
    import onnx

    graph = proto.graph
    heads, tails = [], []
    for value in (*graph.input, *graph.output):
        name = value.name
        if name not in ranges:
            continue
        scale, zero = affine.asymmetric(*ranges[name], LEVELS)
        constants = [f"{name}|edge_scale", f"{name}|edge_zero"]
        arrays = (np.asarray(scale), np.asarray(zero - 128, np.int8))
        graph.initializer.extend(map(onnx.numpy_helper.from_array, arrays, constants))
        inner = f"{name}|inside"
        exchange(graph, {name: inner})
        ranges[inner] = ranges[name]
        if value in graph.input:
            heads.append(onnx.helper.make_node("DequantizeLinear", [name, *constants], [inner]))
        else:
            tails.append(onnx.helper.make_node("QuantizeLinear", [inner, *constants], [name]))
        value.type.tensor_type.elem_type = onnx.TensorProto.INT8
    nodes = [*heads, *map(copied, graph.node), *tails]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)


def integer_inputs(result: Any) -> set[str]:
    """What the integer operators of a graph read, given as the runtime has optimized it."""
    return {name for node in result.graph.node if _is_integer(node.op_type) for name in node.input}


def float_operators(result: Any) -> Counter[str]:
    """How many operators of each kind compute float values in a graph as the runtime has optimized it."""
    graph = result.graph
    kinds = _float_types()
    floats = {t.name for t in graph.initializer if t.data_type in kinds}
    floats |= {v.name for v in graph.input if v.type.tensor_type.elem_type in kinds}
    found: Counter[str] = Counter()
    for node in graph.node:
        if _makes_floats(node, floats):
            floats.update(node.output)
            if node.op_type not in EDGES and not _is_integer(node.op_type):
                found[node.op_type] += 1
    return found


def _is_integer(kind: str) -> bool:
    return kind.startswith("QLinear") or kind in INTEGER


def _float_types() -> set[int]:
    from onnx import TensorProto

    return {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}


def _makes_floats(node: Any, floats: set[str]) -> bool:
    if node.op_type == "Cast":
        return any(a.name == "to" and a.i in _float_types() for a in node.attribute)
    if node.op_type in ALWAYS_FLOAT:
        return True
    if node.op_type == "QGemm":
        return len(node.input) < 8  # without a scale of the output
    if node.op_type.startswith("QLinear") or node.op_type in NEVER_FLOAT:
        return False
    return not floats.isdisjoint(node.input[:1] if node.op_type in MOVING else node.input)
