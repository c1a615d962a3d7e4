"""Small models, one for each way in which channels go from layer to layer.

Each gives the model, how many of its units may go, and the reasons why others stay besides being outputs of the model.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.models import keras, seeded

k = keras()
nn, ops = k.layers, k.ops
BESIDE = "concatenate puts it beside what stays"
Case = tuple[Any, int, set[str]]
CASES: dict[str, Callable[[], Case]] = {}


def case(build: Callable[[], Case]) -> Callable[[], Case]:
    CASES[build.__name__] = build
    return build


def image(size: int = 8, channels: int = 3) -> Any:
    return k.Input((size, size, channels), name="image")


def done(inputs: Any, x: Any, free: int, *reasons: str) -> Case:
    """The model with a head of three behind x, or x itself if it is a list of outputs."""
    if not isinstance(x, (list, dict)):
        x = nn.Dense(3, name="head")(nn.Flatten(name="flat")(x) if len(x.shape) > 2 else x)
    return seeded(k.Model(inputs, x)), free, set(reasons)


@case
def residual_sum() -> Case:
    i = image()
    x = nn.Conv2D(6, 3, padding="same", name="a")(i)
    y = nn.Conv2D(6, 3, padding="same", name="b")(nn.BatchNormalization()(x))
    return done(i, nn.Add()([x, nn.ReLU()(y)]), 6)


@case
def input_in_a_sum() -> Case:
    i = image(8, 4)
    x = nn.Conv2D(5, 1, name="free")(i)
    x = nn.Conv2D(4, 1, name="tied")(x)
    return done(i, nn.Add(name="add")([x, i]), 5, "add brings it together with what stays")


@case
def concatenated() -> Case:
    i = image()
    x, y = nn.Conv2D(4, 1, name="a")(i), nn.Conv2D(5, 1, name="b")(i)
    z = nn.Concatenate()([x, y, i])
    return done(i, nn.Conv2D(3, 1, name="c")(nn.BatchNormalization()(z)), 12, BESIDE)


@case
def concatenated_and_summed() -> Case:
    i = image()
    z = nn.Concatenate()([nn.Conv2D(4, 1, name="a")(i), nn.Conv2D(5, 1, name="b")(i)])
    return done(i, nn.Add()([z, nn.Conv2D(9, 1, name="c")(i)]), 9)


@case
def concatenated_along_rows() -> Case:
    i = image()
    z = nn.Concatenate(axis=1)([nn.Conv2D(4, 1, name="a")(i), nn.Conv2D(4, 1, name="b")(i)])
    return done(i, nn.GlobalAveragePooling2D()(z), 4)


@case
def grouped() -> Case:
    """Units of the first are 3 groups of 4 places; of the second 3 of 8 places; the third has one place in 6 groups."""
    i = image()
    x = nn.Conv2D(12, 3, name="plain")(i)
    x = nn.Conv2D(24, 3, groups=3, name="grouped")(x)
    x = nn.Conv2D(6, 3, groups=6, activation="relu", name="sixfold")(nn.Conv2D(6, 1, name="between")(x))
    return done(i, x, 3 + 4 + 8 + 6)


@case
def depthwise_and_separable() -> Case:
    i = image()
    x = nn.Conv2D(6, 3, name="a")(i)
    x = nn.DepthwiseConv2D(3, depth_multiplier=3, name="depthwise")(x)
    x = nn.SeparableConv2D(8, 3, depth_multiplier=2, name="separable")(x)
    return done(i, nn.Conv2DTranspose(5, 3, strides=2, name="transposed")(x), 6 + 8 + 5)


@case
def depthwise_of_the_input() -> Case:
    i = image()
    x = nn.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(i)
    return done(i, nn.Conv2D(4, 1, name="a")(x), 4)


@case
def one_and_three_dimensions() -> Case:
    i = k.Input((8, 3))
    x = nn.Conv1D(6, 3, padding="causal", dilation_rate=2, name="causal")(i)
    x = nn.SeparableConv1D(4, 2, name="separable")(nn.DepthwiseConv1D(2, name="depthwise")(x))
    x = nn.Conv1DTranspose(6, 3, name="transposed")(x)
    x = nn.Reshape((8, 1, 1, 6))(x)
    x = nn.ZeroPadding3D()(nn.Conv3D(5, (3, 1, 1), name="c3")(x))
    x = nn.Conv3DTranspose(4, 2, name="t3")(nn.AveragePooling3D(2)(x))
    return done(i, nn.GlobalMaxPooling3D()(x), 6 + 4 + 6 + 5 + 4)


@case
def activations_with_weights() -> Case:
    i = image()
    x = nn.PReLU(shared_axes=[1, 2], name="shared")(nn.Conv2D(5, 3, name="a")(i))
    x = nn.PReLU(name="each")(nn.Conv2D(4, 3, name="b")(x))
    return done(i, nn.Activation("gelu")(x), 9)


@case
def squeeze_and_excite() -> Case:
    i = image()
    x = nn.Conv2D(8, 3, name="a")(i)
    s = nn.Reshape((1, 1, 8))(nn.GlobalAveragePooling2D()(x))
    s = nn.Conv2D(2, 1, activation="relu", name="squeeze")(s)
    s = nn.Conv2D(8, 1, activation="sigmoid", name="excite")(s)
    return done(i, nn.Multiply()([x, s]), 10)


@case
def pooled_and_resized() -> Case:
    i = image()
    x = nn.MaxPooling2D(2)(nn.Conv2D(6, 3, padding="same", name="a")(i))
    x = nn.Cropping2D(1)(nn.ZeroPadding2D(2)(nn.UpSampling2D(2)(x)))
    x = nn.Resizing(6, 6)(nn.AveragePooling2D(2)(x))
    return done(i, nn.Dropout(0.5)(nn.SpatialDropout2D(0.1)(x)), 6)


@case
def generator() -> Case:
    """A dense layer whose units become positions of channels: only whole channels go, since the next slides along."""
    i = k.Input((6,))
    x = nn.Reshape((4, 4, 8))(nn.Dense(4 * 4 * 8, name="dense")(i))
    x = nn.Conv2DTranspose(6, 3, strides=2, name="up")(x)
    return done(i, [nn.Conv2D(1, 3, name="out")(x)], 8 + 6, "up slides along it")


@case
def shuffled_groups() -> Case:
    i = image()
    x = nn.Conv2D(12, 1, groups=3, name="first")(nn.Conv2D(12, 3, name="plain")(i))
    x = nn.Reshape((6, 6, 12))(nn.Permute((1, 2, 4, 3))(nn.Reshape((6, 6, 3, 4))(x)))
    return done(i, nn.Conv2D(12, 1, groups=4, name="second")(x), 3 + 4 + 4 + 3)


@case
def flattened_permuted_and_repeated() -> Case:
    i = image(6)
    x = nn.Permute((3, 1, 2))(nn.Conv2D(4, 3, name="a")(i))
    x = nn.Dense(5, name="over_flat")(nn.Flatten()(x))
    x = nn.RepeatVector(3)(x)
    return done(i, nn.Dense(4, name="last")(x), 4 + 5 + 4)


@case
def batch_normalization_of_rows() -> Case:
    i = image(6)
    x = nn.Conv2D(4, 3, name="a")(i)
    return done(i, nn.BatchNormalization(axis=1, scale=False)(x), 4)


@case
def normalized_over_channels() -> Case:
    i = image(6)
    x = nn.LayerNormalization(name="layer_norm")(nn.Conv2D(6, 3, name="a")(i))
    x = nn.Dense(7, activation="gelu", name="wide")(x)
    x = nn.RMSNormalization(name="rms")(nn.Dense(5, name="narrow")(x))
    x = nn.UnitNormalization(name="unit")(nn.Dense(4, name="last")(x))
    return done(i, x, 7, *(f"{name} averages over it" for name in ("layer_norm", "rms", "unit")))


@case
def normalized_over_rows_only() -> Case:
    i = image(6)
    return done(i, nn.LayerNormalization(axis=[1, 2])(nn.Conv2D(4, 3, name="a")(i)), 4)


@case
def normalized_by_groups() -> Case:
    i = image()
    x = nn.GroupNormalization(4, name="four")(nn.Conv2D(12, 3, name="a")(i))
    x = nn.GroupNormalization(-1, scale=False, name="each")(nn.Conv2D(5, 3, name="b")(x))
    x = nn.GroupNormalization(1, name="all")(nn.Conv2D(6, 1, name="c")(x))
    return done(i, x, 4 + 5, "it is all that c/kernel has along an axis")


@case
def einsums() -> Case:
    i = k.Input((5, 6))
    x = nn.EinsumDense("abc,cde->abde", (5, 4, 3), bias_axes="de", name="two")(i)
    x = nn.EinsumDense("abde,def->abf", (5, 7), bias_axes="f", name="both")(x)
    return done(i, nn.EinsumDense("...x,xy->...y", 6, activation="relu", name="dots")(x), 4 + 3 + 7 + 6)


@case
def embedded() -> Case:
    i = k.Input((6,), dtype="int32", name="tokens")
    x = nn.Embedding(50, 8, mask_zero=True, name="table")(i)
    return done(i, nn.LSTM(5, name="lstm")(x), 13)


@case
def recurrent() -> Case:
    i = k.Input((5, 6))
    x = nn.Bidirectional(nn.LSTM(6, return_sequences=True), name="both")(nn.Dense(12, name="wide")(i))
    x = nn.Bidirectional(nn.GRU(4, return_sequences=True), merge_mode="sum", name="summed")(x)
    x = nn.TimeDistributed(nn.Dense(7, activation="relu"), name="timed")(x)
    x = nn.SimpleRNN(5, return_sequences=True, name="simple")(x)
    return done(i, nn.RNN(nn.LSTMCell(3), name="cell")(x), 12 + 6 + 4 + 7 + 5 + 3)


@case
def recurrent_states() -> Case:
    i = k.Input((5, 6))
    x, h, c = nn.LSTM(4, return_state=True, return_sequences=True, name="encoder")(i)
    y = nn.LSTM(4, name="decoder")(x, initial_state=[h, c])
    z, s = nn.GRU(3, return_state=True, reset_after=False, name="gru")(i)
    return done(i, nn.Concatenate()([y, z, s]), 4 + 3)


@case
def convolutional_recurrent() -> Case:
    i = k.Input((3, 6, 6, 2))
    return done(i, nn.ConvLSTM2D(4, 3, name="convlstm")(nn.TimeDistributed(nn.Conv2D(3, 1), name="timed")(i)), 7)


@case
def attention_to_itself() -> Case:
    i = k.Input((5, 6))
    x = nn.Dense(12, name="width")(i)
    return done(i, nn.Add()([x, nn.MultiHeadAttention(4, 6, name="attention")(x, x)]), 12 + 4 + 6)


@case
def attention_with_other_widths() -> Case:
    i, j = k.Input((5, 6)), k.Input((7, 4))
    a = nn.MultiHeadAttention(4, 6, value_dim=5, output_shape=9, use_bias=False, name="attention")
    x = a(nn.Dense(8, name="queries")(i), nn.Dense(7, name="values")(j))
    return done([i, j], x, 4 + 6 + 5 + 9 + 8 + 7)


@case
def attention_with_masks() -> Case:
    i = k.Input((6,), dtype="int32")
    x = nn.Embedding(50, 8, mask_zero=True, name="table")(i)
    x = nn.MultiHeadAttention(2, 4, name="attention")(x, x, use_causal_mask=True)
    return done(i, nn.GlobalAveragePooling1D()(x), 8 + 2 + 4)


@case
def attention_in_groups_of_queries() -> Case:
    i = k.Input((5, 6))
    x = nn.Dense(8, name="width")(i)
    return done(i, nn.GroupQueryAttention(4, 6, 3, name="attention")(x, x), 8 + 3 + 4)


@case
def attention_that_gives_its_scores() -> Case:
    i = k.Input((5, 6))
    x = nn.Dense(8, name="width")(i)
    y, scores = nn.MultiHeadAttention(2, 4, name="attention")(x, x, return_attention_scores=True)
    y = nn.Dense(3, name="out")(nn.Dense(5, name="after")(y))
    return done(i, [y, scores], 5, "attention takes or gives more than queries, keys and values")


@case
def the_same_layer_twice() -> Case:
    i, j = image(8), k.Input((6, 6, 3))
    conv, dense = nn.Conv2D(5, 3, name="conv"), nn.Dense(4, name="dense")
    x, y = nn.GlobalAveragePooling2D()(conv(i)), nn.GlobalAveragePooling2D()(conv(j))
    return done([i, j], nn.Concatenate()([dense(x), dense(y)]), 9)


@case
def nested_models() -> Case:
    """The inner model is called twice, on channels that it shares with what is around it."""
    i, ii = image(), k.Input((6, 6, 12))
    y = nn.BatchNormalization()(nn.Conv2D(12, 3, padding="same", name="a")(ii))
    inner = k.Model(ii, nn.Add()([nn.ReLU()(y), ii]), name="inner")
    tail = k.Sequential([k.Input((6, 6, 12)), nn.Conv2D(8, 3, name="a"), nn.ReLU()], name="tail")
    return done(i, tail(inner(inner(nn.Conv2D(12, 3, name="stem")(i)))), 20)


@case
def backbone_in_a_sequential() -> Case:
    i = image()
    backbone = k.Model(i, nn.Conv2D(6, 3, name="b")(nn.Conv2D(5, 3, name="a")(i)), name="backbone")
    layers = [k.Input((8, 8, 3)), backbone, nn.GlobalAveragePooling2D(), nn.Dense(4, "relu"), nn.Dense(2, name="head")]
    return seeded(k.Sequential(layers)), 15, set()


@case
def several_outputs_and_named_inputs() -> Case:
    i, j = k.Input((4,), name="left"), k.Input((5,), name="right")
    x, y = nn.Dense(6, name="a")(i), nn.Dense(6, name="b")(j)
    z = nn.Average()([x, y])
    return done({"right": j, "left": i}, {"one": nn.Dense(2, name="one")(z), "two": nn.Dense(1, name="two")(x)}, 6)


@case
def an_output_of_hidden_channels() -> Case:
    i = k.Input((4,))
    x = nn.Dense(5, name="seen")(nn.Dense(6, name="hidden")(i))
    return done(i, [x, nn.Dense(2, name="head")(x)], 6)


@case
def softmax_over_hidden_channels() -> Case:
    i = k.Input((4,))
    x = nn.Dense(5, activation="softmax", name="mixed")(nn.Dense(6, name="hidden")(i))
    x = nn.Softmax(name="again")(nn.Dense(4, name="b")(x))
    return done(i, x, 6, "the activation of mixed mixes it", "again mixes it")


@case
def operations() -> Case:
    i = image()
    a, b = ops.split(nn.Conv2D(12, 3, name="a")(i), 2, axis=-1)
    y = nn.Conv2D(8, 3, name="b")(a * ops.sigmoid(b))
    z, w, u = ops.split(y, [2, 5], axis=-1)
    x = ops.concatenate([w, z * 2.0, y[..., 3:7]], axis=-1)
    x = ops.mean(ops.transpose(x, (0, 3, 1, 2)), axis=(2, 3))
    x = ops.repeat(ops.squeeze(ops.tile(ops.expand_dims(x, 1), (1, 1, 2)), 1), 2, axis=1)
    x = ops.stack([ops.relu(x), x], axis=1)
    x = nn.Dense(3, name="head")(nn.Flatten()(x))
    return done(i, [x, nn.Conv2D(3, 1, name="other")(u)], 6 + 8)


@case
def operations_that_mix() -> Case:
    i = image(6)
    x = nn.Conv2D(5, 3, name="summed")(i)
    x = nn.Conv2D(4, 1, name="after")(ops.sum(x, axis=-1, keepdims=True) * i[:, 1:5, 1:5, :])
    y = nn.Conv2D(6, 3, name="sorted")(i)
    z = nn.Conv2D(6, 3, name="constant")(i) + np.arange(6, dtype=np.float32)
    reasons = [
        "sum puts its channels together",
        "sort, of type Sort, uses it",
        "add brings it together with what stays",
        BESIDE,
    ]
    return done(i, nn.Concatenate()([x, ops.sort(y), z]), 4, *reasons)


@case
def pixels_from_channels() -> Case:
    i = image(6)
    x = ops.depth_to_space(nn.Conv2D(12, 3, name="a")(i), 2)
    return done(i, nn.Conv2D(4, 3, name="b")(ops.space_to_depth(x, 2)), 3 + 4)


@case
def heads_by_hand() -> Case:
    """Attention written with operations: heads are 4, and their widths stay with those of other projections."""
    i = k.Input((5, 6))
    x = nn.Dense(12, name="width")(i)

    def heads(name: str) -> Any:
        return ops.transpose(ops.reshape(nn.Dense(8, name=name)(x), (-1, 5, 4, 2)), (0, 2, 1, 3))

    scores = ops.softmax(ops.matmul(heads("q"), ops.transpose(heads("k"), (0, 1, 3, 2))))
    y = ops.reshape(ops.transpose(ops.matmul(scores, heads("v")), (0, 2, 1, 3)), (-1, 5, 8))
    return done(i, nn.Add()([nn.Dense(12, name="o")(y), x]), 12 + 4 + 2 + 2)


@case
def products_of_tensors() -> Case:
    i = k.Input((5, 6))
    x, y, z = (nn.Dense(4, name=name)(i) for name in "xyz")  # multiplied with each other, so all have the same units
    scores = ops.einsum("btc,bsc->bts", x, y)
    return done(i, nn.Concatenate()([nn.Attention(name="attention")([z, y]), scores]), 4, BESIDE)


@case
def unknown_layers() -> Case:
    class Doubled(nn.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    i = image(6)
    x = nn.Conv2D(5, 3, name="into_custom")(nn.Conv2D(4, 1, name="free")(i))
    x = nn.Conv2D(4, 1, name="behind")(Doubled(name="doubled")(x))
    return done(i, x, 4 + 4, "doubled, a custom layer, uses it")


@case
def quantized_by_keras() -> Case:
    i = k.Input((6,))
    x = nn.Dense(8, name="packed")(nn.Dense(5, name="before")(i))
    model = seeded(k.Model(i, nn.Dense(2, name="head")(nn.Dense(4, name="after")(x))))
    model.get_layer("packed").quantize("int8")
    return model, 4, {"packed, which was quantized by Keras or has LoRA weights, uses it"}
