"""Keras on JAX: all but TensorFlow's own formats without TensorFlow, and those through a child process with it."""

import json

import numpy as np
import pytest

from tests.conftest import FIXTURES
from tests.shell import assert_refused, kcompress, without_tensorflow


@pytest.fixture
def alone(tmp_path):
    """Environment variables of a process without TensorFlow."""
    return {**without_tensorflow(tmp_path / "site"), "KERAS_BACKEND": ""}


@pytest.fixture
def small_data(tmp_path):
    with np.load(FIXTURES / "fashion_mnist.npz") as archive:
        np.savez(tmp_path / "data.npz", **{name: archive[name][:200] for name in archive.files})
    return tmp_path / "data.npz"


@pytest.mark.slow
def test_without_tensorflow_a_model_is_pruned_distilled_quantized_and_compared(alone, small_data, fixtures, tmp_path):
    source, output = fixtures / "lenet300.keras", tmp_path / "out.keras"
    done = kcompress(
        *("compress", source, output, "--data", small_data, "--apply", "prune.magnitude:sparsity=0.8"),
        *("--apply", "train.distill:steps=4", "--apply", "quantize.weights:bits=4", "--json"),
        **alone,
    )
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert [each["name"] for each in report["passes"]] == ["prune.magnitude", "train.distill", "quantize.weights"]
    assert report["artifact"]["bytes"] < report["source"]["bytes"] / 6
    assert json.loads(kcompress("inspect", output, "--json", **alone).stdout)["format"] == "keras"
    done = kcompress("compare", source, output, "--test", small_data, "--json", **alone)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["models"]) == 2


def test_without_tensorflow_its_formats_name_the_extra(alone, fixtures, tmp_path):
    for suffix in ("tflite", "onnx"):
        done = kcompress("compress", fixtures / "lenet300.keras", tmp_path / f"out.{suffix}", **alone)
        assert_refused(done, 2, f"writing {tmp_path}/out.{suffix}", "pip install 'kcompress[tensorflow]'")


@pytest.mark.slow
def test_with_both_a_model_trained_on_jax_becomes_tflite(small_data, fixtures, tmp_path):
    done = kcompress(
        *("compress", fixtures / "lenet300.keras", tmp_path / "out.tflite", "--data", small_data, "--json"),
        *("--apply", "train.finetune:steps=4", "--apply", "quantize.float16", "--backend", "jax"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["artifact"]["format"] == "tflite"
    assert report["quality"]["agreement"] > 0.8
