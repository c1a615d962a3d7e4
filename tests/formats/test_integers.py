"""Files of branching models compute in integers alone, and the check that says so sees files that do not.

Real architectures are in tests/test_architectures.py.
"""

import numpy as np

from kcompress.formats.tflite.flatbuffer import unpack
from tests.architectures import images
from tests.formats.integers import faults, write
from tests.models import keras, seeded


def test_branches_that_meet_are_computed_in_integers_of_one_scale(tmp_path):
    nn = keras().layers
    inputs = keras().Input((12, 12, 3))
    x = nn.Conv2D(8, 3, activation="relu")(inputs)
    x = nn.Concatenate()([nn.MaxPooling2D()(x), nn.AveragePooling2D(2)(x), nn.Conv2D(4, 1, strides=2)(x)])
    x = nn.Add()([x, nn.Conv2D(20, 1)(x)])
    model = seeded(keras().Model(inputs, nn.Dense(3)(nn.GlobalAveragePooling2D()(x))))
    write(model, images(12, 16), tmp_path / "m.tflite")
    assert faults(unpack((tmp_path / "m.tflite").read_bytes())) == []


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
    random = np.random.default_rng(0)
    for tensor in sound.subgraphs[0].tensors:
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            tensor.quantization.scale = np.asarray(tensor.quantization.scale) * random.uniform(1, 2)
    assert {line.split()[0] for line in faults(sound)} >= {"MAX_POOL_2D", "SOFTMAX"}
