"""The shortest way through every room: one file in each format that is written, from one small model."""

import pytest

import kcompress


@pytest.mark.parametrize("suffix", [".keras", ".tflite", ".onnx"])
def test_a_model_becomes_a_smaller_file(fixtures, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    report = kcompress.compress(
        fixtures / "lenet300.keras", output, passes=["prune.magnitude:sparsity=0.9", "quantize.weights:bits=4"]
    )
    assert report.artifact.bytes == output.stat().st_size < (fixtures / "lenet300.keras").stat().st_size / 3
    assert report.exit_code == 0
