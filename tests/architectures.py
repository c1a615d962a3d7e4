"""Architectures of keras.applications with random weights, each built once, for the tests of what they must survive."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.models import keras
from tests.passes.fold.statistics import randomized

SIZES = {
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "DenseNet121": 32,
    "NASNetMobile": 32,
    "Xception": 71,
    "InceptionV3": 75,
    "VGG16": 32,
    "ConvNeXtTiny": 32,
}
"""Pixels of the inputs, about the fewest that each takes."""
FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def images(size: int, count: int) -> Any:
    """Fashion-MNIST, enlarged, each image in a colour of its own. Shape (count, size, size, 3), from 0 to 255."""
    with np.load(FIXTURES / "fashion_mnist.npz") as file:
        grey = file["x_train"][:count].reshape(-1, 28, 28)
    enlarged = np.kron(grey, np.ones((-(-size // 28),) * 2, np.uint8))[:, :size, :size, None]
    return (enlarged * np.random.default_rng(0).uniform(0.3, 1, (len(grey), 1, 1, 3))).astype(np.float32)


@cache
def built(name: str) -> Any:
    """An architecture at its size, as after training on 32 images. Tests share it, so they leave it as it is."""
    return build(name, SIZES[name], images(SIZES[name], 32))


def build(name: str, size: int, x: Any, seed: int = 0) -> Any:
    """An architecture for ten classes with kernels as built, and batch normalization as after training on `x`.

    Biases and the layer scales of ConvNeXt are random, too, where Keras begins with zeros or nearly so: a channel that
    is dropped must count.
    """
    k = keras()
    k.utils.set_random_seed(seed)
    settings = {"weights": None, "classes": 10, "input_shape": (size, size, 3), "classifier_activation": None}
    model, random = getattr(k.applications, name)(**settings), np.random.default_rng(0)
    for variable in model.weights:
        if variable.name == "bias":
            variable.assign(random.uniform(-0.1, 0.1, variable.shape))
    for layer in model.layers:
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(random.uniform(0.5, 1.5, layer.gamma.shape))
    return randomized(model, x)
