"""Planned integers are in the file, exactly; integer files compute in integers."""

import numpy as np
import pytest

from kcompress import data
from kcompress.formats import WriteOptions, formats
from kcompress.formats._flatbuffer import unpack
from kcompress.formats._keras_runner import KerasRunner
from kcompress.formats._tflite_rows import float_operators
from kcompress.formats.base import run_batches
from kcompress.graph.view import nodes
from kcompress.layers.plan import QuantPlan
from kcompress.passes import find
from kcompress.passes.base import Context
from tests.models import BUILDERS, batch_for, residual
from tests.shell import kcompress

EXACT = 1e-4  # relative to the largest output: float32 sums in another order
STEPS = {
    "8 bits": find("quantize.weights")(bits=8),
    "5 bits": find("quantize.weights")(bits=5),
    "4 bits": find("quantize.weights")(bits=4, ranges="mse"),
    "power of two": find("quantize.weights")(bits=4, scale="power_of_two"),
    "binary": find("quantize.binary")(edges=True),
}


def quantized(model, step):
    result = step.apply(model, Context())
    return result.model, QuantPlan(result.formats, result.activations)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("form", ["tflite", "onnx"])
@pytest.mark.parametrize("name", BUILDERS)
def test_weights_are_stored_as_integers_and_the_function_stays(form, name, step, tmp_path):
    model, plan = quantized(BUILDERS[name](), step)
    path = tmp_path / f"model.{form}"
    written = formats()[form].write(model, plan, path, WriteOptions())
    assert written.float_weights == ()
    rows = {row.name: row.parameters for row in formats()[form].describe(path).rows}
    kind = "INT8" if step.name.endswith("weights") and step.bits > 4 else "INT4"
    assert rows[f"{kind} weights"] >= sum(w.values.size for node in nodes(model) for w in node.kernels)
    x = batch_for(model)
    for ours, theirs in zip(run_batches(formats()[form].open(path), x), KerasRunner(model)(x), strict=True):
        assert np.abs(ours - theirs).max() <= EXACT * max(1e-3, np.abs(theirs).max())


def calibration(model, count=32):
    x = batch_for(model, count=count, seed=3)
    return data.resolve(calibration=x if len(x) > 1 else next(iter(x.values()))).calibration.fit_to(
        KerasRunner(model).inputs
    )


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "mse", "entropy"])
def test_a_static_file_computes_in_integers_close_to_the_float_model(ranges, tmp_path):
    model = residual()
    step = find("quantize.int8")(ranges=ranges)
    stock, plan = quantized_static(model, step)
    written = formats()["tflite"].write(stock, plan, tmp_path / "m.tflite", WriteOptions(None, calibration(model)))
    assert written.float_weights == ()
    assert not float_operators(unpack((tmp_path / "m.tflite").read_bytes()))
    x = batch_for(model, count=64)
    ours, theirs = run_batches(formats()["tflite"].open(tmp_path / "m.tflite"), x)[0], KerasRunner(model)(x)[0]
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()


def quantized_static(model, step):
    splits = data.resolve(calibration=next(iter(batch_for(model, count=8).values())))
    result = step.apply(model, Context(data=splits))
    return result.model, QuantPlan(result.formats, result.activations)


@pytest.mark.parametrize(("fields", "expected"), [({"io": "int8"}, "int8"), ({}, "float32")])
def test_inputs_and_outputs_have_the_type_that_was_asked_for(fields, expected, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    model, plan = quantized_static(residual(), find("quantize.int8")(**fields))
    path = tmp_path / "m.tflite"
    formats()["tflite"].write(model, plan, path, WriteOptions(None, calibration(model)))
    interpreter = Interpreter(str(path))
    details = interpreter.get_input_details() + interpreter.get_output_details()
    assert {np.dtype(d["dtype"]).name for d in details} == {expected}


def test_a_skipped_layer_stays_float_and_is_named_in_the_file(tmp_path):
    model, plan = quantized_static(residual(), find("quantize.int8")(skip=("*dense*", "*head*", "logits")))
    path = tmp_path / "m.tflite"
    written = formats()["tflite"].write(model, plan, path, WriteOptions(None, calibration(model)))
    assert any("FULLY_CONNECTED (1)" in note for note in written.notes)


def test_static_activations_in_onnx_are_refused_before_work_starts(tmp_path):
    done = kcompress(
        *("compress", "fixtures/lenet300.keras", tmp_path / "o.onnx", "--data", "fixtures/fashion_mnist.npz"),
        *("--apply", "quantize.int8"),
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert ".onnx files do not hold 8-bit static activations" in done.stderr
    assert not list(tmp_path.iterdir())
