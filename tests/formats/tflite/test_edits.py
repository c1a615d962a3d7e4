"""What the quantizer would leave in float, or in 8 bits, without need.

Covers: formats/tflite/edits.py.
"""

import numpy as np
import pytest

from kcompress.formats import WriteOptions, formats
from kcompress.formats.keras.runner import KerasRunner
from kcompress.formats.tflite.description import float_operators
from kcompress.formats.tflite.edits import narrow
from kcompress.formats.tflite.flatbuffer import operators, pack, schema, shorten_names, unpack
from kcompress.quantization.plan import QuantPlan
from tests.formats.test_quantized import integer_file
from tests.models import keras, seeded

k = keras()
nn = k.layers


def negating():
    """Two negations, one of them of a tensor that is read elsewhere too."""
    inputs = k.Input((6,), name="x")
    x = nn.Dense(8, name="first")(inputs)
    x = k.ops.multiply(nn.Dense(8, name="second")(x), k.ops.negative(x))
    return seeded(k.Model(inputs, nn.Dense(3, name="head")(k.ops.negative(x)), name="negating"))


def reshaping():
    """Reshapes to sizes that depend on the batch."""
    inputs = k.Input((4, 6), name="x")
    x = nn.Reshape((8, 3))(nn.Dense(6, name="first")(inputs))
    return seeded(k.Model(inputs, nn.Dense(3, name="head")(nn.Flatten()(nn.Reshape((4, 6))(x))), name="reshaping"))


def kinds(path):
    return [kind for _, _, kind in operators(unpack(path.read_bytes()))]


def test_negation_is_computed_in_integers(tmp_path):
    path = tmp_path / "m.tflite"
    formats()["tflite"].write(negating(), QuantPlan(), path, WriteOptions())
    assert kinds(path).count("NEG") == 2  # the converter makes them, so this test sees them go
    written, error = integer_file(negating(), path)
    assert (written.notes, "NEG" in kinds(path)) == ((), False)
    assert error < 0.03  # 8-bit steps of a few layers, relative to the largest output


def test_shapes_are_read_of_integers(tmp_path):
    path = tmp_path / "m.tflite"
    _, error = integer_file(reshaping(), path)
    assert kinds(path).count("SHAPE") > 0
    assert kinds(path).count("DEQUANTIZE") == 1  # of the output
    assert error < 0.03  # 8-bit steps of two layers, relative to the largest output


def test_float_operators_are_seen_by_what_they_take_and_by_what_they_give(tmp_path):
    inputs = k.Input((6,), name="x")
    x = nn.Dense(4, name="head")(inputs)
    path = tmp_path / "m.tflite"
    formats()["tflite"].write(k.Model(inputs, k.ops.greater(x, 0.5)), QuantPlan(), path, WriteOptions())
    found = float_operators(unpack(path.read_bytes()))
    assert found == {"FULLY_CONNECTED": 1, "GREATER": 1}  # the latter gives truth values


def kernel_read_by(*readers):
    """A flatbuffer with one 8-bit kernel of the levels -1 and 1; `readers` are kind of operator and place of input."""
    s = schema()
    model, graph, tensor, buffer = s.ModelT(), s.SubGraphT(), s.TensorT(), s.BufferT()
    buffer.data = np.array([1, -1, -1, 1], np.int8).view(np.uint8)
    tensor.type, tensor.buffer, tensor.shape = s.TensorType.INT8, 0, [4, 1]
    graph.tensors, graph.operators, model.operatorCodes = [tensor], [], []
    for number, (kind, place) in enumerate(readers):
        code, operator = s.OperatorCodeT(), s.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(s.BuiltinOperator, kind)
        operator.opcodeIndex, operator.inputs = number, [-1] * place + [0]
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    model.subgraphs, model.buffers = [graph], [buffer]
    return model


@pytest.mark.parametrize(
    ("readers", "kind", "size"),
    [
        ([("FULLY_CONNECTED", 1)], "INT2", 1),
        ([("CONV_2D", 1)], "INT4", 2),
        ([("FULLY_CONNECTED", 1), ("CONV_2D", 1)], "INT4", 2),  # both read it
        ([("TRANSPOSE_CONV", 1)], "INT8", 4),
        ([("FULLY_CONNECTED", 0)], "INT8", 4),  # not as a kernel
        ([("FULLY_CONNECTED", 1), ("ADD", 0)], "INT8", 4),
    ],
)
def test_a_kernel_takes_the_smallest_type_that_all_its_readers_run(readers, kind, size):
    model = kernel_read_by(*readers)
    narrow(model, {"FULLY_CONNECTED": 2, "CONV_2D": 4})
    assert model.subgraphs[0].tensors[0].type == getattr(schema().TensorType, kind)
    assert len(model.buffers[0].data) == size


def test_tensors_that_a_layer_holds_besides_its_weights_are_in_the_file(tmp_path):
    inputs = k.Input((200,), name="x")
    normalization = nn.Normalization(name="normalization")  # of 200 values, more than TensorFlow inlines by itself
    normalization.adapt(np.random.default_rng(1).normal(2, 3, (50, 200)))
    model = k.Model(inputs, nn.Dense(2, name="head")(normalization(inputs)))
    path = tmp_path / "m.tflite"
    formats()["tflite"].write(model, QuantPlan(), path, WriteOptions())
    runner = formats()["tflite"].open(path)
    x = {"x": np.random.default_rng(0).normal(0, 3, (2, 200)).astype(np.float32)}
    assert set(runner.inputs) == {"x"}
    np.testing.assert_allclose(runner(x)[0], KerasRunner(model)(x)[0], rtol=1e-4, atol=1e-4)  # sums of 200 float32


def test_arrays_of_equal_content_are_stored_once(tmp_path):
    """Of 40 tensors that have the zero points of 1,000 channels each, 8 bytes a channel."""
    path = tmp_path / "m.tflite"
    formats()["tflite"].write(negating(), QuantPlan(), path, WriteOptions())
    model = unpack(path.read_bytes())
    for number in range(40):
        tensor = schema().TensorT()
        tensor.shape, tensor.name = np.array([1000], np.int32), f"channels_{number}".encode()
        tensor.quantization = schema().QuantizationParametersT()
        tensor.quantization.zeroPoint = np.full(1000, number % 2, np.int64)
        model.subgraphs[0].tensors.append(tensor)
    data = pack(model)
    assert len(data) - path.stat().st_size < 2 * 8000 + 40 * 200
    again = unpack(data).subgraphs[0].tensors[-40:]
    assert [int(tensor.quantization.zeroPoint[-1]) for tensor in again] == [0, 1] * 20


def test_tensors_are_called_after_one_operator_each(tmp_path):
    """The converter names a tensor after all operators that it merged, which takes 2 KB of a small file."""
    path = tmp_path / "m.tflite"
    formats()["tflite"].write(negating(), QuantPlan(), path, WriteOptions())
    names = [tensor.name for tensor in unpack(path.read_bytes()).subgraphs[0].tensors]
    assert len(set(names)) == len(names) and all(b";" not in name for name in names)


def test_shortened_names_stay_apart():
    model = schema().ModelT()
    model.subgraphs = [schema().SubGraphT()]
    names = [b"a;b", b"a;c", b"a_1", None, b"a", None]
    model.subgraphs[0].tensors = [schema().TensorT() for _ in names]
    for tensor, name in zip(model.subgraphs[0].tensors, names, strict=True):
        tensor.name = name
    shorten_names(model)
    assert [t.name for t in model.subgraphs[0].tensors] == [b"a", b"a_1", b"a_1_1", b"", b"a_2", b"_1"]
