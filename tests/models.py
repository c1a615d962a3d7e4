"""Small real models that several tests build on; weights are random but fixed."""

from typing import Any

import numpy as np

from kcompress import backend


def keras() -> Any:
    return backend.load()


def seeded(model: Any, seed: int = 0) -> Any:
    """Give every weight a value of its own, so that nothing passes because it is zero or one."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype.startswith("float"):
            low = 0.5 if "variance" in variable.path or "gamma" in variable.path else -0.5
            variable.assign(random.uniform(low, 1.0 if low > 0 else 0.5, variable.shape))
    return model


def dense() -> Any:
    k = keras()
    layers = [
        k.Input((8,), name="x"),
        k.layers.Dense(16, "relu", name="hidden"),
        k.layers.Dense(3, "softmax", name="head"),
    ]
    return seeded(k.Sequential(layers, name="dense"))


def residual() -> Any:
    """Convolutions, batch normalization, depthwise, separable, grouped and transposed convolutions, a residual sum."""
    k = keras()
    nn = k.layers
    inputs = k.Input((12, 12, 3), name="image")
    x = nn.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(inputs)
    x = nn.ReLU(name="stem_relu")(nn.BatchNormalization(name="stem_bn")(x))
    y = nn.SeparableConv2D(8, 3, padding="same", name="separable")(x)
    y = nn.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False, name="depthwise")(y)
    y = nn.BatchNormalization(name="depthwise_bn")(y)
    y = nn.Conv2D(8, 3, padding="same", groups=2, name="grouped")(y)
    x = nn.Add(name="add")([x, y])
    x = nn.Conv2DTranspose(4, 3, name="transposed")(x)
    x = nn.GlobalAveragePooling2D(name="pool")(x)
    return seeded(k.Model(inputs, nn.Dense(3, "softmax", name="head")(x), name="residual"))


def two_in_two_out() -> Any:
    """Inputs and outputs in dicts, a shared layer, a nested model, and keras.ops calls."""
    k = keras()
    nn = k.layers
    left, right = k.Input((4,), name="left"), k.Input((4,), name="right")
    shared = nn.Dense(6, "gelu", name="shared")
    x = k.ops.add(shared(left), shared(right) * 2)
    inner = k.Sequential([k.Input((6,)), nn.Dense(5, "relu", name="shared"), nn.Dense(6, name="out")], name="inner")
    x = inner(x) + x
    outputs = {"score": nn.Dense(2, name="score")(x), "kind": nn.Dense(3, "softmax", name="kind")(x)}
    return seeded(k.Model({"right": right, "left": left}, outputs, name="two"))


def recurrent() -> Any:
    k = keras()
    nn = k.layers
    inputs = k.Input((7, 5), name="series")
    x = nn.Bidirectional(nn.LSTM(4, return_sequences=True, name="lstm"), name="both")(inputs)
    x = nn.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = nn.GRU(4, name="gru")(x)
    return seeded(k.Model(inputs, nn.Dense(2, name="head")(x), name="recurrent"))


def tokens() -> Any:
    k = keras()
    nn = k.layers
    inputs = k.Input((6,), dtype="int32", name="tokens")
    x = nn.Embedding(50, 8, name="embedding")(inputs)
    x = nn.Flatten(name="flatten")(nn.Conv1D(4, 3, name="conv")(x))
    return seeded(k.Model(inputs, nn.Dense(2, name="head")(x), name="tokens"))


BUILDERS = {f.__name__: f for f in (dense, residual, two_in_two_out, recurrent, tokens)}


def batch_for(model: Any, count: int = 5, seed: int = 1) -> dict[str, Any]:
    """Random samples for every input of a model, whole numbers where it wants them."""
    from kcompress.model.signature import signature

    random = np.random.default_rng(seed)
    sign = signature(model)
    return {
        name: random.integers(0, 50, (count, *shape[1:]))
        if sign.dtypes[name].startswith("int")
        else random.random((count, *shape[1:]), np.float32)
        for name, shape in sign.inputs.items()
    }


def small_run(folder, samples):
    """What a run of the dense model needs, in a folder: `m.keras`, and `d.npz`, of which 100 samples are test data."""
    x, y = np.random.default_rng(0).random((samples, 8), np.float32), np.arange(samples) % 3
    np.savez(folder / "d.npz", x_train=x[100:], y_train=y[100:], x_test=x[:100], y_test=y[:100])
    dense().save(folder / "m.keras")
    return folder
