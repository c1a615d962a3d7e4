"""Keras on JAX: all but TensorFlow's own formats without TensorFlow, and those through a child process with it."""

import numpy as np
import pytest

import kcompress as package
from tests import other_process
from tests.conftest import FIXTURES
from tests.models import dense
from tests.shell import assert_refused, kcompress, without_tensorflow
from tests.sweep import some


@pytest.fixture
def alone(tmp_path):
    """Environment variables of a process without TensorFlow."""
    return {**without_tensorflow(tmp_path / "site"), "KERAS_BACKEND": ""}


@pytest.fixture
def small_data(tmp_path):
    with np.load(FIXTURES / "fashion_mnist.npz") as archive:
        np.savez(tmp_path / "data.npz", **{name: archive[name][:200] for name in archive.files})
    return tmp_path / "data.npz"


def everything(source, output, data):
    """Documents of a run, of its file, and of a comparison."""
    steps = ["prune.magnitude:sparsity=0.8", "train.distill:steps=4", "quantize.weights:bits=4"]
    found = package.compress(source, output, passes=steps, data=data), package.inspect(output)
    return [each.to_json() for each in (*found, package.compare([source, output], test=data))]


@pytest.mark.slow
def test_without_tensorflow_a_model_is_pruned_distilled_quantized_and_compared(small_data, fixtures, tmp_path):
    given = map(str, (fixtures / "lenet300.keras", tmp_path / "out.keras", small_data))
    report, inspected, compared = other_process.call("jax", everything, *given)
    assert [each["name"] for each in report["passes"]] == ["prune.magnitude", "train.distill", "quantize.weights"]
    assert report["artifact"]["bytes"] < report["source"]["bytes"] / 6
    assert inspected["format"] == "keras"
    assert len(compared["models"]) == 2


def test_without_tensorflow_its_formats_name_the_extra(alone, fixtures, tmp_path):
    for suffix in ("tflite", "onnx"):
        done = kcompress("compress", fixtures / "lenet300.keras", tmp_path / f"out.{suffix}", **alone)
        assert_refused(done, 2, f"writing {tmp_path}/out.{suffix}", "pip install 'kcompress[tensorflow]'")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", some([".tflite", ".onnx"], lambda suffix: suffix == ".tflite"))
def test_with_both_a_model_on_jax_becomes_the_same_file_as_on_tensorflow(suffix, tmp_path):
    """Which a child process with TensorFlow writes."""
    dense().save(tmp_path / "dense.keras")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((100, 8), np.float32), y=np.arange(100) % 3)
    files = [tmp_path / f"{backend}{suffix}" for backend in ("tensorflow", "jax")]
    for output in files:
        command = ("compress", tmp_path / "dense.keras", output, "--data", tmp_path / "d.npz")
        done = kcompress(*command, "--apply", "quantize.int8", "--backend", output.stem)
        assert (done.returncode, done.stderr) == (0, "")
    assert files[0].read_bytes() == files[1].read_bytes()
