"""A model with every layer type that has kernels, and a custom layer, for the tests of passes."""

from typing import Any

from tests.models import keras, seeded

k = keras()
nn = k.layers


class Projection(nn.Layer):
    """A custom layer: a matrix, a vector, and two tables that are not learned, one of whole numbers."""

    def build(self, shape: Any) -> None:
        self.matrix = self.add_weight(shape=(shape[-1], 4), name="matrix")
        self.vector = self.add_weight(shape=(4,), name="vector")
        self.table = self.add_weight(shape=(2, 2), name="table", trainable=False)
        self.numbers = self.add_weight(shape=(2, 2), name="numbers", dtype="int32", trainable=False)
        self.numbers.assign([[1, 4097], [3, 4]])  # 4097 has 13 significant bits

    def call(self, x: Any) -> Any:
        return x @ self.matrix + self.vector + k.ops.sum(self.table)


KERNELS = {
    "conv1": ["kernel"],
    "conv2": ["kernel"],
    "conv3": ["kernel"],
    "transposed1": ["kernel"],
    "transposed2": ["kernel"],
    "transposed3": ["kernel"],
    "depthwise1": ["kernel"],
    "depthwise2": ["kernel"],
    "separable1": ["depthwise_kernel", "pointwise_kernel"],
    "separable2": ["depthwise_kernel", "pointwise_kernel"],
    "lstm/lstm_cell": ["kernel", "recurrent_kernel"],
    "gru/gru_cell": ["kernel", "recurrent_kernel"],
    "rnn/simple_rnn_cell": ["kernel", "recurrent_kernel"],
    "both/forward_inner/lstm_cell": ["kernel", "recurrent_kernel"],
    "both/backward_inner/lstm_cell": ["kernel", "recurrent_kernel"],
    "attention/query": ["kernel"],
    "attention/key": ["kernel"],
    "attention/value": ["kernel"],
    "attention/attention_output": ["kernel"],
    "grouped/query": ["kernel"],
    "grouped/key": ["kernel"],
    "grouped/value": ["kernel"],
    "grouped/attention_output": ["kernel"],
    "einsum": ["kernel"],
    "each/step": ["kernel"],
    "embedding": ["embeddings"],
    "nested/conv": ["kernel"],
    "nested/dense": ["kernel"],
    "head": ["kernel"],
}
"""The layers with kernels of `everything`, and their names."""


def everything() -> Any:
    """Every layer type with kernels, normalization, a nested model and a custom layer; every weight is set."""
    image, volume = k.Input((8, 8, 4), name="image"), k.Input((4, 4, 4, 2), name="volume")
    series, tokens = k.Input((8, 4), name="series"), k.Input((5,), dtype="int32", name="tokens")
    a = nn.BatchNormalization(name="bn")(nn.Conv2D(8, 3, padding="same", name="conv2")(image))
    a = nn.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise2")(a)
    a = nn.Conv2DTranspose(8, 3, name="transposed2")(nn.SeparableConv2D(8, 3, name="separable2")(a))
    nested = k.Sequential(
        [
            k.Input((6, 6, 8)),
            nn.Conv2D(4, 3, name="conv"),
            nn.GlobalAveragePooling2D(name="pool"),
            nn.Dense(4, name="dense"),
        ],
        name="nested",
    )
    v = nn.Conv3DTranspose(4, 2, name="transposed3")(nn.Conv3D(4, 2, name="conv3")(volume))
    s = nn.Conv1D(8, 3, padding="same", name="conv1")(series)
    s = nn.SeparableConv1D(8, 3, padding="same", name="separable1")(
        nn.DepthwiseConv1D(3, padding="same", name="depthwise1")(s)
    )
    s = nn.LayerNormalization(name="ln")(nn.Conv1DTranspose(8, 3, padding="same", name="transposed1")(s))
    s = nn.Bidirectional(nn.LSTM(4, return_sequences=True, name="inner"), name="both")(s)
    s = nn.GRU(4, return_sequences=True, name="gru")(nn.LSTM(4, return_sequences=True, name="lstm")(s))
    s = nn.SimpleRNN(4, return_sequences=True, name="rnn")(s)
    s = nn.GroupQueryAttention(2, 4, 2, name="grouped")(*2 * [nn.MultiHeadAttention(2, 3, name="attention")(s, s)])
    s = nn.TimeDistributed(nn.Dense(4, name="step"), name="each")(
        nn.EinsumDense("abc,cd->abd", (8, 4), name="einsum")(s)
    )
    parts = [
        nested(a),
        nn.Flatten(name="flat")(v),
        nn.Flatten(name="flat_series")(s),
        nn.Flatten(name="flat_tokens")(nn.Embedding(12, 4, name="embedding")(tokens)),
    ]
    x = Projection(name="custom")(nn.Concatenate(name="all")(parts))
    model = k.Model([image, volume, series, tokens], nn.Dense(3, "softmax", name="head")(x), name="everything")
    return seeded(model)


def convolutional() -> Any:
    layers = [
        k.Input((8, 8, 3), name="image"),
        nn.Conv2D(8, 3, name="conv_a"),
        nn.BatchNormalization(name="bn"),
        nn.ReLU(name="relu"),
        nn.Conv2D(8, 3, name="conv_b"),
        nn.Flatten(name="flatten"),
        nn.Dense(4, name="head"),
    ]
    return seeded(k.Sequential(layers, name="convolutional"))


def without_kernels() -> Any:
    layers = [k.Input((8, 8, 3), name="image"), nn.BatchNormalization(name="bn"), nn.Flatten(name="flatten")]
    return seeded(k.Sequential(layers, name="without_kernels"))
