"""Integer `.onnx` files: what ONNX Runtime makes of them, what they hold, and what stays in float by name.

Covers: formats/onnx/graph.py, formats/onnx/integers.py, formats/onnx/integers_dynamic.py,
formats/onnx/integers_static.py, formats/onnx/product.py.
"""

from collections import Counter
from itertools import product

import numpy as np
import onnx
import pytest

from kcompress.errors import UnsupportedError
from kcompress.formats import WriteOptions, formats, run_batches
from kcompress.formats.keras.runner import KerasRunner
from kcompress.formats.onnx.integers import float_operators
from kcompress.formats.onnx.runner import ORTRunner, optimized
from kcompress.formats.onnx.weights import storage_bits
from kcompress.model.view import nodes
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import Activations, QuantPlan
from tests.formats.test_quantized import calibration, integer_file, quantized
from tests.models import BUILDERS, batch_for, keras, residual, seeded
from tests.passes.models import convolutional
from tests.sweep import some

k = keras()
nn = k.layers


def operators(path):
    """The operators that ONNX Runtime makes of a file."""
    return Counter(node.op_type for node in optimized(onnx.load(path), extended=True).graph.node)


def write(model, plan, path):
    return formats()["onnx"].write(model, plan, path, WriteOptions(None, calibration(model)[1]))


def test_a_static_file_computes_in_integers_after_the_runtime_has_optimized_it(tmp_path):
    written, error = integer_file(convolutional(), tmp_path / "m.onnx")
    assert (written.float_weights, written.notes, written.float_operators) == ((), (), {})
    assert error < 0.03
    found = operators(tmp_path / "m.onnx")
    assert (found["QLinearConv"], found["QGemm"]) == (2, 1)
    assert not found["Clip"]  # the range of what a Relu makes says as much
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1  # at the file's own input and output


def branches():
    """Operators with integer kernels of their own: pools, a concatenation, a product, gates, paddings, clips."""
    nn = k.layers
    inputs = k.Input((12, 12, 4), name="image")
    x = nn.ReLU(max_value=6, name="relu6")(nn.Conv2D(8, 3, padding="same", name="conv")(inputs))
    gate = nn.Reshape((1, 1, 8), name="spread")(nn.GlobalAveragePooling2D(name="mean")(x))
    gate = nn.Conv2D(8, 1, activation="sigmoid", name="gate")(gate)
    x = nn.Multiply(name="gated")([x, gate])
    parts = [
        nn.MaxPooling2D(2, name="max")(x),
        nn.AveragePooling2D(2, name="average")(x),
        nn.Conv2D(4, 3, strides=2, name="strided")(nn.ZeroPadding2D(name="pad")(x)),
    ]
    x = nn.LeakyReLU(name="leaky")(nn.Concatenate(name="joined")(parts))
    x = nn.Add(name="sum")([x, nn.Conv2D(20, 1, name="side")(x)])
    x = nn.Dense(3, name="head")(nn.GlobalMaxPooling2D(name="top")(nn.ReLU(name="relu")(nn.UpSampling2D(name="up")(x))))
    return seeded(k.Model(inputs, nn.Softmax(name="shares")(x), name="branches"))


def test_operators_between_the_layers_are_integer_ones_too(tmp_path):
    written, error = integer_file(branches(), tmp_path / "m.onnx")
    assert (written.float_weights, written.notes, written.float_operators) == ((), (), {})
    assert error < 0.03
    found = operators(tmp_path / "m.onnx")
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1
    for kind in ("Concat", "Mul", "Add", "Sigmoid", "LeakyRelu", "AveragePool", "GlobalAveragePool", "Softmax"):
        assert found[f"QLinear{kind}"] == 1, kind


def test_what_the_runtime_computes_in_float_is_named(tmp_path):
    written, _ = integer_file(residual(), tmp_path / "m.onnx")
    assert written.float_weights == ("transposed/kernel",)
    assert written.float_operators == {"ConvTranspose": 1}
    written, _ = integer_file(convolutional(), tmp_path / "m.onnx", skip="conv_a")
    assert written.float_weights == ()
    assert written.float_operators["Conv"] == 1
    for mode in ("static", "dynamic"):
        written, _ = integer_file(BUILDERS["recurrent"](), tmp_path / "m.onnx", mode=mode)
        assert {name.split("/")[0] for name in written.float_weights} == {"both", "gru"}


def test_a_dynamic_file_multiplies_integers_and_keeps_floats_between(tmp_path):
    written, error = integer_file(convolutional(), tmp_path / "m.onnx", mode="dynamic")
    assert (written.float_weights, written.notes, written.float_operators) == ((), (), {})
    assert error < 0.03
    found = operators(tmp_path / "m.onnx")
    assert (found["ConvInteger"], found["DynamicQuantizeMatMul"], found["Conv"], found["Gemm"]) == (2, 1, 0, 0)


@pytest.mark.parametrize(
    ("name", "fields"),
    some(
        product(BUILDERS, [{}, {"io": "int8"}, {"mode": "dynamic"}]), lambda case: case[0] == "residual" or not case[1]
    ),
    ids=str,
)
def test_integer_files_pass_the_checker_with_standard_operators(name, fields, tmp_path):
    integer_file(BUILDERS[name](), tmp_path / "m.onnx", **fields)
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert {entry.domain for entry in proto.opset_import} <= {"", "ai.onnx"}
    assert max(entry.version for entry in proto.opset_import) == 18  # no 4-bit weights, no newer operators


def factors(path, place):
    """The values of the kernels (place 1) or the biases (place 2) of a static file, as its operators read them."""
    proto = onnx.load(path)
    views = {node.input[place] for node in proto.graph.node if node.op_type in ("Conv", "Gemm")}
    del proto.graph.output[:]
    for name in views:
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    run = ORTRunner(proto.SerializeToString())
    return [np.sort(values.ravel()) for values in run(batch_for(convolutional()))]


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8])
def test_kernels_under_integer_activations_lie_exactly_on_their_planned_grids(bits, tmp_path):
    model = find("fold.batchnorm")().apply(convolutional(), Context()).model
    grid = find("quantize.weights")(bits=bits) if bits > 1 else find("quantize.binary")(edges=True)
    first, step = grid.apply(model, Context()), find("quantize.int8")()
    written = write(first.model, QuantPlan(first.formats, step.computation()), tmp_path / "m.onnx")
    assert (written.float_weights, written.notes, written.float_operators) == ((), (), {})
    stored = factors(tmp_path / "m.onnx", 1)
    assert len(stored) == 3
    for node in nodes(first.model):
        for weight in node.kernels:
            wanted = np.sort(weight.values.ravel())
            assert any(v.size == wanted.size and np.allclose(v, wanted, rtol=1e-6, atol=1e-9) for v in stored)


@pytest.mark.parametrize(("bits", "kind"), [(8, "UINT8"), (7, "INT8"), (4, "INT4"), (2, "2-bit")])
def test_a_kernel_is_uint8_only_where_16_bits_could_not_hold_two_products(bits, kind, tmp_path):
    first = find("quantize.weights")(bits=bits).apply(convolutional(), Context())
    write(first.model, QuantPlan(first.formats, find("quantize.int8")().computation()), tmp_path / "m.onnx")
    rows = {row.name: row.parameters for row in formats()["onnx"].describe(tmp_path / "m.onnx").rows}
    assert rows[f"{kind} weights"] == sum(w.values.size for node in nodes(first.model) for w in node.kernels)


def test_a_channel_whose_bias_is_large_against_its_kernel_keeps_both(tmp_path):
    """The bias would not fit int32 at the scale of a channel of tiny weights, and lose its digits at that of zeros."""
    model = convolutional()
    kernel, bias = model.get_layer("conv_b").weights
    values = kernel.numpy()
    values[..., 0] *= 1e-12
    values[..., 1] = 0
    kernel.assign(values)
    bias.assign(np.full(bias.shape, 0.3, np.float32))
    written, error = integer_file(model, tmp_path / "m.onnx")
    assert (written.float_weights, written.notes, written.float_operators) == ((), (), {})
    assert error < 0.03
    stored = factors(tmp_path / "m.onnx", 2)
    assert any(values.size == 8 and np.allclose(values, 0.3, rtol=1e-3) for values in stored)  # steps of most channels


def test_one_bit_holds_no_zeros():
    assert [storage_bits(np.array(levels), 1) for levels in ([1, -1], [1, 0, -1])] == [1, 2]


def test_binary_weights_take_little_more_than_a_bit_and_are_counted_as_weights(tmp_path, fixtures):
    model = formats()["keras"].read(fixtures / "lenet300.keras")
    stock, plan = quantized(model, find("quantize.binary")(edges=True))
    path = tmp_path / "m.onnx"
    formats()["onnx"].write(stock, plan, path, WriteOptions())
    rows = {row.name: (row.parameters, row.nonzero) for row in formats()["onnx"].describe(path).rows}
    count = 784 * 300 + 300 * 100 + 100 * 10
    assert rows["1-bit weights"] == (count, count)
    assert 8 * path.stat().st_size / count < 1.3  # everything else included
    tables = [t for t in onnx.load(path).graph.initializer if list(t.dims) == [256, 8]]
    assert len(tables) == 1


def test_zeros_of_packed_and_of_unsigned_weights_are_counted_as_zeros(tmp_path):
    pruned = find("prune.magnitude")(sparsity=0.5).apply(convolutional(), Context()).model
    ternary = find("quantize.binary")(levels=3, edges=True).apply(pruned, Context())
    for plan, model in (
        (QuantPlan(ternary.formats), ternary.model),
        (QuantPlan(ternary.formats, find("quantize.int8")().computation()), ternary.model),
        quantized(pruned, find("quantize.int8")())[::-1],
    ):
        write(model, plan, tmp_path / "m.onnx")
        rows = {row.name: row for row in formats()["onnx"].describe(tmp_path / "m.onnx").rows}
        row = rows.get("2-bit weights") or rows["UINT8 weights"]
        assert row.nonzero == sum(np.count_nonzero(w.values) for node in nodes(model) for w in node.kernels)


def test_the_runtime_unpacks_weights_when_it_loads_the_file(tmp_path):
    found = []
    for plan in (quantized(convolutional(), find("quantize.binary")(edges=True))[1], QuantPlan()):
        stock = find("quantize.binary")(edges=True).apply(convolutional(), Context()).model
        formats()["onnx"].write(stock, plan, tmp_path / "m.onnx", WriteOptions())
        found.append(operators(tmp_path / "m.onnx"))
    assert found[0] == found[1]


@pytest.mark.parametrize(("fields", "expected"), [({"io": "int8"}, "tensor(int8)"), ({}, "tensor(float)")])
def test_inputs_and_outputs_have_the_type_that_was_asked_for(fields, expected, tmp_path):
    import onnxruntime

    integer_file(residual(), tmp_path / "m.onnx", **fields)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    assert {v.type for v in (*session.get_inputs(), *session.get_outputs())} == {expected}


def test_a_file_with_int8_edges_computes_what_one_with_float_edges_does(tmp_path):
    model = residual()
    x = batch_for(model)
    outputs = []
    for fields in ({}, {"io": "int8"}):
        integer_file(model, tmp_path / "m.onnx", **fields)
        outputs.append(run_batches(formats()["onnx"].open(tmp_path / "m.onnx"), x)[0])
    np.testing.assert_array_equal(*outputs)


def test_the_same_model_gives_the_same_integer_file(tmp_path):
    found = set()
    for _ in range(2):
        integer_file(residual(), tmp_path / "m.onnx")
        found.add((tmp_path / "m.onnx").read_bytes())
    assert len(found) == 1


def test_a_layer_that_is_called_twice_is_stored_once(tmp_path):
    left, right = k.Input((16,), name="left"), k.Input((16,), name="right")
    shared = k.layers.Dense(64, "relu", name="shared")
    model = seeded(k.Model([left, right], shared(left) + shared(right), name="twins"))
    integer_file(model, tmp_path / "m.onnx")
    rows = {row.name: row.parameters for row in formats()["onnx"].describe(tmp_path / "m.onnx").rows}
    assert rows["UINT8 weights"] == 16 * 64


def test_constants_that_a_layer_holds_outside_its_variables_are_no_inputs(tmp_path):
    inputs = k.Input((4,), name="x")
    scaled = k.layers.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 4, 9, 16], name="scaled")(inputs)
    model = seeded(k.Model(inputs, k.layers.Dense(3, name="head")(scaled), name="m"))
    x = batch_for(model)
    for format_name in ("onnx", "tflite"):
        formats()[format_name].write(model, QuantPlan(), tmp_path / f"m.{format_name}", WriteOptions())
        run = formats()[format_name].open(tmp_path / f"m.{format_name}")
        assert list(run.inputs) == ["x"]
        np.testing.assert_allclose(run(x)[0], KerasRunner(model)(x)[0], rtol=1e-5, atol=1e-6)  # float32 sums


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_a_sum_that_the_runtime_would_take_into_a_product_keeps_it_in_integers(mode, tmp_path):
    inputs = k.Input((8,), name="x")
    x = nn.Dense(8, "relu", name="first")(inputs)
    model = seeded(k.Model(inputs, nn.Add(name="add")([nn.Dense(8, use_bias=False, name="second")(x), x])))
    written, error = integer_file(model, tmp_path / "m.onnx", mode=mode)
    assert (written.float_weights, written.float_operators) == ((), {})
    assert error < 0.03


def test_half_floats_count_as_floats():
    value = onnx.helper.make_tensor_value_info
    half = onnx.TensorProto.FLOAT16
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [value("x", half, [2])], [value("y", half, [2])])
    assert float_operators(onnx.helper.make_model(graph)) == {"Relu": 1}


def test_an_integer_input_without_a_zero_point_has_zero(tmp_path):
    value, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    scale = onnx.numpy_helper.from_array(np.float32(0.5), "scale")
    node = onnx.helper.make_node("DequantizeLinear", ["x", "scale"], ["y"])
    edges = [value("x", types.INT8, ["n", 3])], [value("y", types.FLOAT, ["n", 3])]
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "g", *edges, [scale]), ir_version=8)
    proto.opset_import[0].version = 18
    onnx.save(proto, tmp_path / "m.onnx")
    (y,) = formats()["onnx"].open(tmp_path / "m.onnx")({"x": np.array([[1.0, -2.0, 0.5]])})
    np.testing.assert_array_equal(y, [[1.0, -2.0, 0.5]])


def test_a_model_that_the_runtime_cannot_run_is_refused_in_one_line(tmp_path):
    inputs = k.Input((6, 6, 3), dtype="float64", name="image")
    model = seeded(k.Model(inputs, nn.Conv2D(4, 3, dtype="float64", name="conv")(inputs)))
    with pytest.raises(UnsupportedError, match="ONNX Runtime cannot run this model"):
        write(model, QuantPlan(activations=Activations("static")), tmp_path / "m.onnx")
