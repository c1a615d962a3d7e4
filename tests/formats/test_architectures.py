"""Real architectures become `.tflite` files that compute in integers alone; scripts/bench/quantize.py tries more."""

from functools import cache

import numpy as np
import pytest

from kcompress.formats import formats
from kcompress.formats.base import run_batches
from kcompress.formats.tflite.flatbuffer import unpack
from tests.formats.architectures import SIZES, build, faults, images, write
from tests.models import keras

FAST = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "ResNet50V2", "EfficientNetB0", "DenseNet121", "NASNetMobile"]


@cache
def built(name):
    return build(name, SIZES[name], images(SIZES[name], 32))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAST)
def test_every_operator_of_a_static_file_computes_in_integers(name, tmp_path):
    x = images(SIZES[name], 8)
    _, written = write(built(name), x, tmp_path / "m.tflite")
    assert (written.float_weights, written.notes) == ((), ())
    assert faults(unpack((tmp_path / "m.tflite").read_bytes())) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_a_file_with_16_bit_activations_gives_what_keras_gives_on_the_grid(name, tmp_path):
    """With 8 bits, random kernels make networks so deep that no two roundings agree."""
    x = images(SIZES[name], 32)
    model, _ = write(built(name), x, tmp_path / "m.tflite", activations=16)
    runner = formats()["tflite"].open(tmp_path / "m.tflite")
    ours, theirs = run_batches(runner, {next(iter(runner.inputs)): x})[0], np.asarray(model(x, training=False))
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()  # 16-bit steps of more than fifty layers


def test_faults_of_a_file_are_seen(tmp_path):
    """One with float kernels, one whose scales were spoilt."""
    nn = keras().layers
    layers = [keras().Input((8, 8, 3)), nn.Conv2D(4, 3), nn.MaxPooling2D(), nn.Flatten(), nn.Dense(3, "softmax")]
    model, x = keras().Sequential(layers), images(28, 8)[:, :8, :8]
    path = tmp_path / "m.tflite"
    write(model, x, path)
    sound = unpack(path.read_bytes())
    assert faults(sound) == []
    write(model, x, path, skip="dense*")
    assert any(line.startswith("FULLY_CONNECTED in float") for line in faults(unpack(path.read_bytes())))
    for tensor in sound.subgraphs[0].tensors:
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            tensor.quantization.scale = np.asarray(tensor.quantization.scale) * np.random.default_rng(0).uniform(1, 2)
    assert {line.split()[0] for line in faults(sound)} >= {"MAX_POOL_2D", "SOFTMAX"}
