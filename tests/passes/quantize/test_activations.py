"""Integer activations in the pass: layers that cannot be calibrated are named, noise of activations is counted.

Covers: passes/quantize/_calibrated.py, passes/quantize/int8.py.
"""

import json

import numpy as np
import pytest

from kcompress import data
from kcompress.errors import DataError
from kcompress.model.view import nodes
from kcompress.passes import find
from kcompress.passes.base import Context
from tests.models import BUILDERS, batch_for, dense, keras, residual, seeded, tokens
from tests.shell import assert_refused, kcompress

INT8 = find("quantize.int8")
k = keras()


def calibrated(model, count=32):
    x = batch_for(model, count)
    return Context(data=data.resolve(calibration=x if len(x) > 1 else next(iter(x.values()))))


def broken(name, value):
    """A model in which one layer's bias is `value` and its kernel zero, or finite and as it was where it is None."""
    model = residual()
    layer = next(node.layer for node in nodes(model) if node.name == name)
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    layer.bias.assign(np.full(layer.bias.shape, value))
    return model


def test_a_layer_whose_values_are_constant_is_refused_by_name():
    model = broken("transposed", 0.25)
    message = "quantize.int8: the values of layer 'transposed' are constant, 0.25, on the samples of calibration; "
    with pytest.raises(DataError, match=f"^{message}"):
        INT8().apply(model, calibrated(model))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_layer_whose_values_are_not_finite_is_refused_by_name(value):
    model = dense()
    model.layers[0].bias.assign(np.full(16, value))
    with pytest.raises(DataError, match="the values of layer 'hidden' are not finite on the samples of"):
        INT8().apply(model, calibrated(model))


def test_a_constant_layer_does_not_matter_where_activations_are_floats():
    model = broken("transposed", 0.25)
    for mode in ("dynamic", "weight_only"):
        assert INT8(mode=mode).apply(model, calibrated(model)).changes


def test_values_that_are_constant_on_the_first_samples_only_do_no_harm():
    model = residual()
    x = batch_for(model, 80)["image"]
    x[:40] = 0
    assert INT8().apply(model, Context(data=data.resolve(calibration=x))).changes
    x[:] = 0
    with pytest.raises(DataError, match="the values of the model's inputs are constant, 0, on"):
        INT8().apply(model, Context(data=data.resolve(calibration=x)))


def test_one_sample_is_enough():
    k = keras()
    model = seeded(k.Sequential([k.Input((8,)), k.layers.Dense(4, "relu"), k.layers.Dense(1)]))
    assert INT8().apply(model, calibrated(model, 1)).changes


def test_softmax_may_be_saturated():
    model = dense()
    model.layers[1].bias.assign([100, 0, 0])
    assert INT8().apply(model, calibrated(model)).changes


@pytest.mark.parametrize("name", BUILDERS)
def test_static_mode_counts_the_noise_of_activations(name):
    model = BUILDERS[name]()
    static, weights = (
        {c.layer: c.figures for c in INT8(mode=mode).apply(model, calibrated(model)).changes}
        for mode in ("static", "weight_only")
    )
    assert static.keys() == weights.keys()
    for layer, figures in static.items():
        assert figures["weight_sqnr_db"] == weights[layer]["weight_sqnr_db"]
        assert figures["output_sqnr_db"] <= weights[layer]["output_sqnr_db"] + 0.5  # noises may cancel a little
    assert any(static[name]["output_sqnr_db"] < weights[name]["output_sqnr_db"] - 0.5 for name in static)


def test_more_bits_less_noise():
    model = residual()
    eight, sixteen = (
        {c.layer: c.figures["output_sqnr_db"] for c in INT8(activations=bits).apply(model, calibrated(model)).changes}
        for bits in (8, 16)
    )
    assert np.mean([sixteen[name] - eight[name] for name in eight]) > 2


@pytest.mark.slow
def test_a_constant_layer_is_refused_from_the_shell(tmp_path):
    broken("transposed", 0.25).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", batch_for(residual(), 32)["image"])
    arguments = ["compress", "m.keras", "o.tflite", "--calibration", "x.npy", "--apply", "quantize.int8"]
    done = kcompress(*arguments, cwd=tmp_path)
    assert_refused(
        done, 2, "the values of layer 'transposed' are constant, 0.25, on the samples of x.npy; calibrate with"
    )
    assert not (tmp_path / "o.tflite").exists()


def test_samples_that_the_model_cannot_take_are_refused_in_one_line(tmp_path):
    tokens().save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.full((20, 6), 500))  # of 50 words
    arguments = ["compress", "m.keras", "o.tflite", "--calibration", "x.npy", "--apply", "quantize.int8"]
    done = kcompress(*arguments, cwd=tmp_path)
    assert_refused(
        done, 2, "the model cannot be run on these samples (", "500 is not in [0, 50)", "like the training data"
    )


def test_strict_refuses_a_file_that_computes_in_float_and_a_report_notes_it(tmp_path):
    inputs = k.Input((6, 6, 3), name="image")
    y = k.layers.Conv2D(3, 3, name="conv")(inputs)
    model = seeded(k.Model(inputs, k.layers.Activation("elu", name="elu")(y), name="m"))
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", batch_for(model, 20)["image"])
    arguments = ["compress", "m.keras", "o.tflite", "--calibration", "x.npy", "--apply", "quantize.int8"]
    done = kcompress(*arguments, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["notes"] == ["computed in float: ELU (1)"]
    done = kcompress(*arguments, "--strict", "--overwrite", cwd=tmp_path)
    assert_refused(done, 2, "--strict: computed in float: ELU (1); ")


def test_integer_inputs_are_refused_where_a_file_has_none(tmp_path):
    dense().save(tmp_path / "m.keras")
    done = kcompress("compress", "m.keras", "o.keras", "--apply", "quantize.int8:io=int8", cwd=tmp_path)
    assert_refused(done, 2, "quantize.int8: .keras files have no int8 inputs and outputs; leave io out, or give an")
