"""Make `fixtures/`: a subset of Fashion-MNIST and four models trained on all 60,000 images.

    apt-get install dataset-fashion-mnist          # Debian or Ubuntu, 30 MB, MIT licence
    python scripts/make_fixtures.py [--only NAME]  # needs the `tensorflow` extra

Every model starts with its own Rescaling, so raw uint8 values are what it expects. `lenet5.h5` is written by
Keras 2 (`tf_keras`), as the legacy files that people still have were. The time each one takes is printed.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from _fashion import part
from keras import layers

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
TRAIN, TEST = 6000, 2000
SHAPE = (28, 28, 1)
CLASSES = 10


def resnet8() -> keras.Model:
    """ResNet-8 as in MLPerf Tiny: three residual blocks of 16, 32 and 64 channels, batch normalization."""

    def block(x, name: str, width: int, stride: int):
        y = layers.Conv2D(width, 3, stride, "same", use_bias=False, name=f"{name}_conv1")(x)
        y = layers.BatchNormalization(name=f"{name}_bn1")(y)
        y = layers.ReLU(name=f"{name}_relu1")(y)
        y = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv2")(y)
        y = layers.BatchNormalization(name=f"{name}_bn2")(y)
        if stride > 1:
            x = layers.Conv2D(width, 1, stride, "same", name=f"{name}_shortcut")(x)
        return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, y]))

    inputs = keras.Input(SHAPE, name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem_conv")(x)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_bn")(x))
    for number, (width, stride) in enumerate([(16, 1), (32, 2), (64, 2)], 1):
        x = block(x, f"block{number}", width, stride)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, "softmax", name="head")(x), name="resnet8")


def mobilenet() -> keras.Model:
    """A small MobileNet (Howard et al. 2017): depthwise separable blocks, batch normalization, ReLU6."""
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem_conv")(x)
    x = layers.ReLU(6.0, name="stem_relu")(layers.BatchNormalization(name="stem_bn")(x))
    for number, (width, stride) in enumerate([(32, 2), (64, 1), (128, 2), (128, 1)], 1):
        name = f"block{number}"
        x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
        x = layers.ReLU(6.0, name=f"{name}_relu1")(layers.BatchNormalization(name=f"{name}_bn1")(x))
        x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_pointwise")(x)
        x = layers.ReLU(6.0, name=f"{name}_relu2")(layers.BatchNormalization(name=f"{name}_bn2")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, "softmax", name="head")(x), name="mobilenet")


def lenet300() -> keras.Model:
    """LeNet-300-100 (LeCun et al. 1998): fully connected, 784-300-100-10."""
    return keras.Sequential(
        [
            keras.Input(SHAPE, name="image"),
            layers.Rescaling(1 / 255, name="rescale"),
            layers.Flatten(name="flatten"),
            layers.Dense(300, "relu", name="hidden1"),
            layers.Dense(100, "relu", name="hidden2"),
            layers.Dense(CLASSES, "softmax", name="head"),
        ],
        name="lenet300",
    )


def lenet5(kit=keras) -> keras.Model:
    """LeNet-5 in its Caffe form (431,080 parameters); `kit` is keras or tf_keras."""
    nn = kit.layers
    return kit.Sequential(
        [
            kit.Input(SHAPE, name="image"),
            nn.Rescaling(1 / 255, name="rescale"),
            nn.Conv2D(20, 5, name="conv1"),
            nn.MaxPooling2D(2, name="pool1"),
            nn.Conv2D(50, 5, name="conv2"),
            nn.MaxPooling2D(2, name="pool2"),
            nn.Flatten(name="flatten"),
            nn.Dense(500, activation="relu", name="hidden"),
            nn.Dense(CLASSES, activation="softmax", name="head"),
        ],
        name="lenet5",
    )


class Batches(keras.utils.PyDataset):
    """Shuffled batches of the training set, mirrored at random."""

    def __init__(self, x: np.ndarray, y: np.ndarray, size: int, seed: int):
        super().__init__()
        self.x, self.y, self.size = x, y, size
        self.random = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self.x) // self.size

    def on_epoch_end(self) -> None:
        self.order = self.random.permutation(len(self.x))

    def __getitem__(self, index: int):
        rows = self.order[index * self.size : (index + 1) * self.size]
        x = self.x[rows].astype("float32")
        mirrored = self.random.random(len(rows)) < 0.5
        x[mirrored] = x[mirrored, :, ::-1]
        return x, self.y[rows]


def train(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int, rate: float) -> None:
    batches = Batches(x, y, 128, seed=1)
    steps = epochs * len(batches)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    model.fit(batches, epochs=epochs, verbose=2)


def save(model: keras.Model, name: str) -> Path:
    """Save without compile and optimizer state: the weights moved into a freshly built model."""
    path = FIXTURES / name
    if path.suffix == ".h5":
        import tf_keras

        fresh = lenet5(tf_keras)
        fresh.set_weights(model.get_weights())
        fresh.save(path, save_format="h5", include_optimizer=False)
    else:
        fresh = MODELS[name][0]()
        fresh.set_weights(model.get_weights())
        fresh.save(path)
    return path


MODELS = {
    "resnet8.keras": (resnet8, 14, 4e-3),
    "mobilenet.keras": (mobilenet, 14, 4e-3),
    "lenet300.keras": (lenet300, 12, 1e-3),
    "lenet5.h5": (lenet5, 10, 1e-3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[*MODELS, "fashion_mnist.npz"])
    only = parser.parse_args().only
    FIXTURES.mkdir(exist_ok=True)
    found, tests = part("train"), part("t10k")
    if found is None or tests is None:
        raise SystemExit("apt-get install dataset-fashion-mnist")
    (x_train, y_train), (x_test, y_test) = found, tests
    if only in (None, "fashion_mnist.npz"):
        np.savez_compressed(
            FIXTURES / "fashion_mnist.npz",
            x_train=x_train[:TRAIN],
            y_train=y_train[:TRAIN],
            x_test=x_test[:TEST],
            y_test=y_test[:TEST],
        )
    for name, (build, epochs, rate) in MODELS.items():
        if only not in (None, name):
            continue
        started = time.perf_counter()
        keras.utils.set_random_seed(1)
        model = build()
        train(model, x_train, y_train, epochs, rate)
        seconds = time.perf_counter() - started
        guessed = model.predict(x_test.astype("float32"), batch_size=500, verbose=0).argmax(-1)
        right = guessed == y_test
        size = save(model, name).stat().st_size
        print(
            f"{name}: {model.count_params():,} parameters, {size:,} bytes, {seconds:.0f} s; "
            f"accuracy {right[:TEST].mean():.4f} on the {TEST:,}, {right.mean():.4f} on all 10,000",
            flush=True,
        )


if __name__ == "__main__":
    main()
