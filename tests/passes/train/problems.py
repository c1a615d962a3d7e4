"""Small problems that can be learned in a second, and the models that learn them."""

from typing import Any

import numpy as np

from kcompress.data import resolve
from kcompress.model.rebuild import copy
from kcompress.passes.base import Context, TrainingContext
from kcompress.training.teachers import Teacher
from tests.models import keras

k = keras()
nn = k.layers


def spots(count: int = 256) -> tuple[Any, Any]:
    """Images of 12 by 12 with a bright spot in one of four corners, which is the class."""
    random = np.random.default_rng(0)
    y = np.arange(count) % 4
    x = random.normal(size=(count, 12, 12, 1)).astype(np.float32)
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 2)
        image[row * 6 : row * 6 + 6, column * 6 : column * 6 + 6] += 1
    return x, y


def convolutional(normalized: bool = True, activation: str | None = "softmax", width: int = 8) -> Any:
    k.utils.set_random_seed(1)
    inputs = k.Input((12, 12, 1), name="image")
    x = nn.Conv2D(width, 3, padding="same", use_bias=not normalized, name="conv1")(inputs)
    x = nn.BatchNormalization(name="bn1")(x) if normalized else x
    x = nn.MaxPooling2D(3, name="pool")(nn.ReLU(name="relu1")(x))
    x = nn.Conv2D(width, 3, activation="relu", padding="same", name="conv2")(x)
    x = nn.Dense(16, "relu", name="hidden")(nn.Flatten(name="flatten")(x))
    return k.Model(inputs, nn.Dense(4, activation, name="head")(x), name="spots")


def context(labelled: bool = True, teacher: Any = None, pruning: Any = None, **fields: Any) -> Context:
    x, y = spots()
    teachers = () if teacher is None else (Teacher("teacher", "", lambda: copy(teacher)),)
    training = TrainingContext(teachers=teachers, pruning=pruning)
    return Context(data=resolve((x, y) if labelled else x), training=training, **fields)


def accuracy(model: Any) -> float:
    x, y = spots()
    return float((np.asarray(model(x[4::5])).argmax(-1) == y[4::5]).mean())
