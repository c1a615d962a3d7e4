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
from kcompress.formats.onnx.graph import constant
from kcompress.formats.onnx.integer_operators import FIXED, MOVING, wanted
from kcompress.formats.onnx.integers_dynamic import to_dynamic_integers
from kcompress.formats.onnx.integers_static import LEVELS, to_static_integers
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
    model: Any, stored: Mapping[str, StoredTensor], activations: Activations, options: WriteOptions
) -> dict[str, set[Any]]:
    """Rewrite a prepared graph in place; planned kernels are `stored`, by tensor name.

    Returns by kernel the integer values that stand for it.
    """
    if activations.mode == "dynamic":
        return to_dynamic_integers(model, stored)
    ranges = _ranges(model, activations, options)
    if activations.io == "int8":
        _int8_edges(model.graph, ranges)
    return to_static_integers(model, stored, ranges)


def _ranges(model: Any, activations: Activations, options: WriteOptions) -> dict[str, tuple[float, float]]:
    """Tensor name to the range to represent, of inputs, outputs and all values between that may become integers."""
    import onnx
    import onnx_ir as ir

    assert options.calibration is not None  # the pass declares that it needs it
    graph, proto = model.graph, ir.to_proto(model)
    names = wanted(graph)
    for name in sorted(names - {value.name for value in (*graph.inputs, *graph.outputs)}):
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    runner = ORTRunner(proto.SerializeToString())

    def run(x: Tensors) -> Iterator[tuple[str, NDArray[Any]]]:
        for name, values in (*x.items(), *zip(runner.outputs, runner(x), strict=True)):
            if name in names:
                yield name, np.asarray(values, np.float32)

    ranges = measure_ranges(options.calibration, activations, run, runner.inputs)
    ranges.update({node.outputs[0].name: FIXED[node.op_type] for node in graph if node.op_type in FIXED})
    return ranges


def _int8_edges(graph: Any, ranges: dict[str, tuple[float, float]]) -> None:
    """Make the graph's float inputs and outputs int8; `ranges` then has those of the floats behind them, too."""
    import onnx_ir as ir

    places = [(values, place) for values in (graph.inputs, graph.outputs) for place in range(len(values))]
    for values, place in places:
        inner = values[place]
        if inner.name not in ranges:
            continue
        name, inner.name = inner.name, f"{inner.name}|inside"
        ranges[inner.name] = ranges[name]
        scale, zero = affine.asymmetric(*ranges[name], LEVELS)
        arrays = {"edge_scale": scale, "edge_zero": np.int8(zero - 128)}
        constants = [constant(graph, f"{name}|{part}", number) for part, number in arrays.items()]
        values[place] = edge = ir.Value(name=name, shape=inner.shape, type=ir.TensorType(ir.DataType.INT8))
        if values is graph.inputs:
            head = ir.Node("", "DequantizeLinear", [edge, *constants], graph=graph)
            inner.replace_all_uses_with(head.outputs[0])
            head.outputs[0].name, head.outputs[0].type = inner.name, inner.type
        else:
            ir.Node("", "QuantizeLinear", [inner, *constants], outputs=[edge], graph=graph)
    graph.sort()


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
