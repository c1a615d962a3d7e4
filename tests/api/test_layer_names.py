"""Layers may have any name that Keras takes, also those that TensorFlow's graphs do not; reports say it as it is."""

import json

import numpy as np
import pytest

import kcompress
from kcompress.formats.trusted import trusting
from tests.models import keras, seeded
from tests.shell import kcompress as shell

NAMES = ("_conv_stem", "my layer", "größe", "a:b", "-x", "x>y", "層", "'quoted'", "a\\b")


def model(name):
    k = keras()
    nn = k.layers
    x = inputs = k.Input((8, 8, 3), name=f"{name} in")
    x = nn.BatchNormalization(name=f"{name} bn")(nn.Conv2D(4, 3, name=name)(x))
    x = nn.Flatten(name="flat")(nn.ReLU(name=f"{name} relu")(x))
    inner = k.Sequential([k.Input((144,)), nn.Dense(6, "relu", name=name)], name=f"{name} inner")
    return seeded(k.Model(inputs, nn.Dense(3, "softmax", name=f"{name} out")(inner(x)), name=f"{name} model"))


@pytest.fixture(params=NAMES)
def named(request, tmp_path):
    with trusting(()):
        made = model(request.param)
    made.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).random((40, 8, 8, 3), np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(40) % 3)
    return request.param, tmp_path


def test_such_a_model_goes_into_every_format_and_computes_the_same(named):
    name, folder = named
    for suffix in ("keras", "tflite", "onnx"):
        steps = ["fold.batchnorm", "prune.magnitude:sparsity=0.5", "quantize.weights"]
        report = kcompress.compress(
            folder / "m.keras", folder / f"o.{suffix}", passes=steps, data=str(folder / "d.npz")
        )
        assert {change["layer"] for change in report.passes[1].changed} >= {name, f"{name} inner/{name}"}
        assert report.to_json()["artifact"]["float_layers"] == []
    found = kcompress.compare(
        [folder / f"o.{suffix}" for suffix in ("keras", "tflite", "onnx")], test=str(folder / "d.npz")
    )
    assert [each.quality.agreement for each in found] == [1, 1, 1]
    rows = [row.name for row in kcompress.inspect(folder / "m.keras").description.rows]
    assert name in rows


@pytest.mark.slow
def test_such_a_model_is_trained_quantized_and_cut(tmp_path):
    with trusting(()):
        model("_conv stem").save(tmp_path / "m.keras")
    x = np.random.default_rng(0).random((40, 8, 8, 3), np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(40) % 3)
    done = shell(
        *("compress", "m.keras", "o.tflite", "--data", "d.npz", "--apply", "prune.structured:macs=0.5"),
        *("--apply", "train.distill:steps=2", "--apply", "quantize.int8", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["artifact"]["float_layers"] == []
