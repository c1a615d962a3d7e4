"""Planned integers are in the file, exactly; integer files compute in integers.

Covers: formats/activation_ranges.py, formats/integer_io.py, formats/onnx/weights.py, formats/stored_tensors.py,
formats/tflite/flatbuffer.py, formats/tflite/integers.py.
"""

from itertools import product

import numpy as np
import pytest

from kcompress import data
from kcompress.formats import WriteOptions, formats, run_batches
from kcompress.formats.keras.runner import KerasRunner
from kcompress.formats.tflite.description import float_operators
from kcompress.formats.tflite.flatbuffer import schema, unpack
from kcompress.model.view import nodes
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import QuantPlan
from tests.models import BUILDERS, batch_for, keras, residual
from tests.passes.models import convolutional
from tests.shell import assert_refused, kcompress
from tests.sweep import some

EXACT = 1e-4  # relative to the largest output: float32 sums in another order
STEPS = {
    "8 bits": find("quantize.weights")(bits=8),
    "5 bits": find("quantize.weights")(bits=5),
    "4 bits": find("quantize.weights")(bits=4, ranges="mse"),
    "power of two": find("quantize.weights")(bits=4, scale="power_of_two"),
    "2 bits": find("quantize.weights")(bits=2),
    "binary": find("quantize.binary")(edges=True),
    "ternary": find("quantize.binary")(edges=True, levels=3),
}
STORED = {"8 bits": "INT8", "5 bits": "INT8", "4 bits": "INT4", "power of two": "INT4"}
FEWEST = {"tflite": {}, "onnx": {"binary": "1-bit", "2 bits": "2-bit", "ternary": "2-bit"}}


def quantized(model, step):
    result = step.apply(model, Context())
    return result.model, QuantPlan(result.formats, result.activations)


@pytest.mark.parametrize(
    ("name", "step"),
    some(product(BUILDERS, STEPS), lambda case: case[0] == "residual" or case[1] == "4 bits"),
)
@pytest.mark.parametrize("format_name", ["tflite", "onnx"])
def test_weights_are_stored_as_integers_and_the_function_stays(format_name, name, step, tmp_path):
    model, plan = quantized(BUILDERS[name](), STEPS[step])
    path = tmp_path / f"model.{format_name}"
    written = formats()[format_name].write(model, plan, path, WriteOptions())
    assert written.float_weights == ()
    rows = {row.name: row.parameters for row in formats()[format_name].describe(path).rows}
    kind = STORED.get(step) or FEWEST[format_name].get(step, "INT2")
    assert rows[f"{kind} weights"] >= sum(w.values.size for node in nodes(model) for w in node.kernels)
    x = batch_for(model)
    for ours, theirs in zip(run_batches(formats()[format_name].open(path), x), KerasRunner(model)(x), strict=True):
        assert np.abs(ours - theirs).max() <= EXACT * max(1e-3, np.abs(theirs).max())


def calibration(model, count=64):
    """Samples, and the same as calibration data."""
    x = batch_for(model, count=count, seed=3)
    found = data.resolve(calibration=x if len(x) > 1 else next(iter(x.values()))).calibration
    return x, found.fit_to(KerasRunner(model).inputs)


def integer_file(model, path, batch=None, **fields):
    """Write a model with integer activations; what the writer said, and the largest relative error on the samples."""
    x, samples = calibration(model)
    stock, plan = quantized(model, find("quantize.int8")(**fields))
    file_format = formats()[path.suffix[1:]]
    written = file_format.write(stock, plan, path, WriteOptions(batch, samples))
    outputs = zip(run_batches(file_format.open(path), x), KerasRunner(model)(x), strict=True)
    return written, max(np.abs(ours - theirs).max() / np.abs(theirs).max() for ours, theirs in outputs)


SETTINGS = {"tflite": [{}, {"activations": 16}, {"io": "int8"}, {"mode": "dynamic"}]}
SETTINGS["onnx"] = [fields for fields in SETTINGS["tflite"] if "activations" not in fields]


@pytest.mark.parametrize(
    ("name", "format_name", "fields"),
    some(
        [
            (name, format_name, fields)
            for name in BUILDERS
            for format_name in SETTINGS
            for fields in SETTINGS[format_name]
        ],
        lambda case: case[0] == "residual" or not case[2],
    ),
    ids=str,
)
def test_an_integer_file_is_close_to_the_float_model(name, format_name, fields, tmp_path):
    _, error = integer_file(BUILDERS[name](), tmp_path / f"m.{format_name}", **fields)
    assert error < 0.03  # 8-bit steps of a few layers, relative to the largest output


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "mse", "entropy"])
def test_a_static_file_computes_in_integers_whatever_chooses_its_ranges(ranges, tmp_path):
    written, error = integer_file(residual(), tmp_path / "m.tflite", ranges=ranges)
    assert (written.float_weights, written.notes, written.float_operators) == ((), (), {})
    assert not float_operators(unpack((tmp_path / "m.tflite").read_bytes()))
    assert error < 0.05  # some clip


@pytest.mark.parametrize("format_name", SETTINGS)
def test_a_batch_that_is_larger_than_the_calibration_data_does_no_harm(format_name, tmp_path):
    assert integer_file(residual(), tmp_path / f"m.{format_name}", batch=100)[1] < 0.03
    assert formats()[format_name].open(tmp_path / f"m.{format_name}").inputs["image"][0] == 100


PACKED = {  # mode and bits of activations; of the kernels of `residual`, how many are stored in which type
    ("static", 8): {2: {"INT2": 12, "INT4": 1072, "INT8": 288}, 4: {"INT4": 1084, "INT8": 288}},
    ("static", 16): {2: {"INT2": 12, "INT4": 856, "INT8": 504}, 4: {"INT4": 868, "INT8": 504}},
    ("dynamic", 8): {2: {"INT2": 12, "INT4": 856, "INT8": 504}, 4: {"INT4": 868, "INT8": 504}},
}
"""One Dense, six convolutions, of those three depthwise with 216 weights in all; a transposed one with 288."""
NEAR = {8: 0.06, 16: 1e-3}  # 8-bit steps of some layers, relative to the largest output; a wrong kernel is off by 1


def twice(model, path, bits, **fields):
    """Write a model with few bits per weight and integer activations; what is in it, and its error against Keras."""
    context = Context(target=path.suffix[1:])
    first, second = find("quantize.weights")(bits=bits).apply(model, context), find("quantize.int8")(**fields)
    result = second.apply(first.model, Context(plan=QuantPlan(first.formats)))
    x, samples = calibration(model)
    file_format = formats()[path.suffix[1:]]
    plan = QuantPlan(first.formats).updated(result.formats, second.computation())
    written = file_format.write(result.model, plan, path, WriteOptions(None, samples))
    assert written.float_weights == ()
    ours, theirs = run_batches(file_format.open(path), x)[0], KerasRunner(result.model)(x)[0]
    return file_format.describe(path), np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize(("mode", "activations"), PACKED)
def test_kernels_take_the_smallest_type_that_integer_operators_run_right(mode, activations, bits, tmp_path):
    fields = {"mode": mode, **({"activations": activations} if mode == "static" else {})}
    described, error = twice(residual(), tmp_path / "m.tflite", bits, **fields)
    rows = {row.name.removesuffix(" weights"): row.parameters for row in described.rows}
    assert {kind: rows[kind] for kind in ("INT2", "INT4", "INT8") if kind in rows} == PACKED[mode, activations][bits]
    stored = sum(int(kind[3:]) * count for kind, count in PACKED[mode, activations][bits].items())
    biases = described.parameters - sum(PACKED[mode, activations][bits].values())
    assert described.bits_per_weight == (stored + (64 if activations == 16 else 32) * biases) / described.parameters
    assert error < NEAR[activations]


@pytest.mark.parametrize("format_name", SETTINGS)
@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_kernels_of_four_bits_are_packed_under_integer_activations(mode, format_name, tmp_path):
    described, error = twice(convolutional(), tmp_path / f"m.{format_name}", 4, mode=mode)
    assert {row.name: row.parameters for row in described.rows}["INT4 weights"] > 0
    assert error < 0.03  # 8-bit steps


def dequantized(path):
    """The values that every integer constant of a `.tflite` file stands for."""
    model, types = unpack(path.read_bytes()), schema().TensorType
    found = []
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is None or tensor.type not in (types.INT8, types.INT4, types.INT2):
            continue
        levels = np.asarray(data).view(np.int8)
        for kind, bits in ((types.INT4, 4), (types.INT2, 2)):
            if tensor.type == kind:
                fields = np.stack([levels << shift for shift in range(8 - bits, -1, -bits)], 1)
                levels = (fields.ravel() >> (8 - bits))[: np.prod(tensor.shape)]
        shape = [1] * len(tensor.shape)
        shape[tensor.quantization.quantizedDimension] = -1
        found.append(levels.reshape(tensor.shape) * np.reshape(tensor.quantization.scale, shape))
    return found


@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_kernels_under_integer_activations_lie_exactly_on_their_planned_grids(bits, mode, tmp_path):
    model = find("fold.batchnorm")().apply(convolutional(), Context()).model  # the converter would scale its channels
    first, second = find("quantize.weights")(bits=bits).apply(model, Context()), find("quantize.int8")(mode=mode)
    plan = QuantPlan(first.formats, second.computation())
    path = tmp_path / "m.tflite"
    formats()["tflite"].write(first.model, plan, path, WriteOptions(None, calibration(model)[1]))
    stored = dequantized(path)
    for node in nodes(first.model):
        for weight in node.kernels:
            wanted = np.sort(weight.values.ravel())
            alike = [np.sort(v.ravel()) for v in stored if v.size == wanted.size]
            assert any(np.allclose(v, wanted, rtol=1e-5, atol=1e-7) for v in alike), node.name


@pytest.mark.parametrize(("fields", "expected"), [({"io": "int8"}, "int8"), ({}, "float32")])
def test_inputs_and_outputs_have_the_type_that_was_asked_for(fields, expected, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    integer_file(residual(), tmp_path / "m.tflite", **fields)
    interpreter = Interpreter(str(tmp_path / "m.tflite"))
    details = interpreter.get_input_details() + interpreter.get_output_details()
    assert {np.dtype(d["dtype"]).name for d in details} == {expected}


def test_a_file_with_integer_inputs_takes_samples_of_any_type_as_values(tmp_path):
    model, path = keras().Sequential([keras().Input((4,), name="x"), keras().layers.Dense(3)]), tmp_path / "m.tflite"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4)).astype(np.uint8)
    stock, plan = quantized(model, find("quantize.int8")(io="int8"))
    samples = data.resolve(calibration=pixels).calibration.fit_to(KerasRunner(model).inputs)
    formats()["tflite"].write(stock, plan, path, WriteOptions(None, samples))
    runner, expected = formats()["tflite"].open(path), KerasRunner(model)({"x": pixels})[0]
    assert np.abs(runner({"x": pixels})[0] - expected).max() < 0.03 * np.abs(expected).max()  # 8-bit steps of one layer
    np.testing.assert_array_equal(runner({"x": pixels})[0], runner({"x": pixels.astype(np.float32)})[0])


def test_a_skipped_layer_stays_float_and_is_named_in_the_file(tmp_path):
    written, _ = integer_file(residual(), tmp_path / "m.tflite", skip="head")
    assert written.float_operators == {"FULLY_CONNECTED": 1}


def test_planned_kernels_that_the_file_computes_with_in_float_are_named(tmp_path):
    assert integer_file(BUILDERS["tokens"](), tmp_path / "m.tflite")[0].float_weights == ("embedding/embeddings",)


def test_16_bit_activations_in_onnx_are_refused_before_work_starts(tmp_path):
    done = kcompress(
        *("compress", "fixtures/lenet300.keras", tmp_path / "o.onnx", "--data", "fixtures/fashion_mnist.npz"),
        *("--apply", "quantize.int8:activations=16"),
    )
    assert_refused(done, 2, ".onnx files do not hold 16-bit static activations", ".tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format_name", SETTINGS)
def test_whole_numbers_of_another_type_are_values_to_a_file_with_int8_inputs(format_name, tmp_path):
    path = tmp_path / f"m.{format_name}"
    integer_file(residual(), path, io="int8")
    x = np.random.default_rng(0).integers(0, 2, (4, 12, 12, 3))
    run = formats()[format_name].open(path)
    for dtype in (np.uint8, np.int64):
        np.testing.assert_array_equal(run({"image": x.astype(dtype)})[0], run({"image": x.astype(np.float32)})[0])
