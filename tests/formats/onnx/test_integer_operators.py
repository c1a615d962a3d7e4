"""Every operator that is computed in integers in an `.onnx` file is one that ONNX Runtime has on integers.

Covers: formats/onnx/integer_operators.py, formats/onnx/order.py.
"""

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from kcompress.formats.onnx.integer_operators import COMPUTING, MOVING
from kcompress.formats.onnx.integers import float_operators
from kcompress.formats.onnx.integers_static import to_static_integers
from kcompress.formats.onnx.order import settle
from kcompress.formats.onnx.runner import ORTRunner, optimized

RANGE = (-2.0, 2.0)
STEP = 4 / 255


def whole(*values):
    return np.array(values, np.int64)


OPERATORS = {
    "Add": (["sum", "sum"], {}),
    "Mul": (["sum", "sum"], {}),
    "Concat": (["sum", "sum"], {"axis": 1}),
    "Where": ([np.array([True, False] * 4), "sum", np.float32(0.5)], {}),
    "MatMul": (["sum", "sum"], {}),
    "AveragePool": (["sum"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "GlobalAveragePool": (["sum"], {}),
    "LeakyRelu": (["sum"], {"alpha": 0.1}),
    "Sigmoid": (["sum"], {}),
    "Softmax": (["sum"], {"axis": -1}),
    "MaxPool": (["sum"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "Reshape": (["sum", whole(0, -1)], {}),
    "Transpose": (["sum"], {"perm": [0, 2, 3, 1]}),
    "Flatten": (["sum"], {"axis": 1}),
    "Squeeze": (["sum", whole(0)], {}),
    "Unsqueeze": (["sum", whole(0)], {}),
    "Slice": (["sum", whole(0), whole(2), whole(2)], {}),
    "Gather": (["sum", whole(1, 2)], {"axis": 2}),
    "Split": (["sum"], {"axis": 2, "num_outputs": 2}),
    "Tile": (["sum", whole(1, 1, 2, 1)], {}),
    "Expand": (["sum", whole(3, 4, 8, 8)], {}),
    "DepthToSpace": (["sum"], {"blocksize": 2}),
    "ReduceMax": (["sum", whole(2, 3)], {}),
    "ReduceMin": (["sum", whole(2, 3)], {}),
    "Resize": (["sum", None, np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    "Pad": (["sum", whole(0, 0, 1, 1, 0, 0, 1, 1)], {}),
    "Identity": (["sum"], {}),
    "Relu": (["sum"], {}),
    "Clip": (["sum", np.float32(-0.5), np.float32(0.6)], {}),
}
KEPT = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}  # the runtime may merge or drop these


def graph(kind):
    """x + x, then the operator; the sum is an output, too, so that nothing is merged into it."""
    given, attributes = OPERATORS[kind]
    constants = {f"constant{n}": np.asarray(v) for n, v in enumerate(given) if v is not None and not isinstance(v, str)}
    names = [v if isinstance(v, str) else "" if v is None else f"constant{n}" for n, v in enumerate(given)]
    results = ["y", "z"] if kind == "Split" else ["y"]
    h, float32 = onnx.helper, onnx.TensorProto.FLOAT
    made = h.make_graph(
        [h.make_node("Add", ["x", "x"], ["sum"]), h.make_node(kind, names, results, **attributes)],
        "graph",
        [h.make_tensor_value_info("x", float32, [1, 4, 8, 8])],
        [h.make_tensor_value_info(name, float32, None) for name in ("sum", *results)],
        [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    proto = h.make_model(made, opset_imports=[h.make_opsetid("", 18)], ir_version=9)
    return onnx.shape_inference.infer_shapes(proto)


def test_every_operator_is_tried_here():
    assert OPERATORS.keys() | {"Conv", "Gemm"} == COMPUTING | MOVING


@pytest.mark.parametrize("kind", OPERATORS)
def test_the_runtime_has_it_on_integers_and_it_computes_the_same(kind):
    proto = graph(kind)
    x = {"x": np.random.default_rng(0).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)}
    expected = ORTRunner(proto.SerializeToString())(x)
    model = ir.from_proto(proto)
    to_static_integers(model, {}, dict.fromkeys(("x", "sum", "y", "z"), RANGE))
    settle(model.graph)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    result = optimized(proto, extended=True)
    assert not float_operators(result)
    operators = Counter(node.op_type for node in result.graph.node)
    assert kind in KEPT or operators.keys() & {kind, f"QLinear{kind}", "Clip" if kind == "Relu" else kind}
    allowed = STEP * {"MatMul": 32, "Mul": 4}.get(kind, 2)  # factors of up to 2 are each off by a step, eight times
    for ours, theirs in zip(ORTRunner(proto.SerializeToString())(x), expected, strict=True):
        assert np.abs(ours - np.clip(theirs, *RANGE)).max() <= allowed
