"""Numbers that positions of tensors always hold: what a model gives there, whatever its input.

Covers: channels/constants/keeping.py, channels/constants/making.py, channels/constants/moving.py,
channels/constants/numbers.py, channels/constants/evaluation.py.
"""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.constants import constants
from kcompress.channels.constants.numbers import along, compact
from tests.models import keras, seeded

k = keras()
nn = k.layers
NAN = np.nan


def last(model):
    """The numbers of the model's output."""
    found = channels(model)
    return constants(found).numbers[found.flow.outputs[0]]


def agrees(model, low=-1.0, high=1.0):
    """What is known of the output is what the model gives for random inputs; gives which positions are known."""
    known = last(model)
    random = np.random.default_rng(0)
    x = [random.uniform(low, high, (3, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    made = np.asarray(model(x if len(x) > 1 else x[0]))
    spread = np.broadcast_to(known, made.shape)
    fixed = ~np.isnan(spread)
    np.testing.assert_allclose(made[fixed], spread[fixed], rtol=1e-5, atol=1e-6)  # float32
    assert all(np.ptp(made[..., n]) > 0 for n in range(made.shape[-1]) if np.isnan(spread[..., n]).all())
    return ~np.isnan(along(known, -1, made.shape[-1]))


def begun(*layers, shape=(8, 8, 3), dead=(1,), bias=0.5):
    """A convolution with filters that are zero, and what follows it."""
    first = nn.Conv2D(4, 3, name="conv")
    model = seeded(k.Sequential([k.Input(shape), first, *layers]))
    kernel, biases = np.asarray(first.kernel).copy(), np.asarray(first.bias).copy()
    kernel[..., list(dead)], biases[list(dead)] = 0, bias
    first.kernel.assign(kernel)
    first.bias.assign(biases)
    return model


def test_inputs_vary_and_a_filter_of_zeros_gives_its_bias():
    model = begun()
    found = channels(model)
    assert np.isnan(constants(found).numbers[found.flow.inputs[0]]).all()
    np.testing.assert_array_equal(last(model), np.array([NAN, 0.5, NAN, NAN], np.float32).reshape(1, 1, 1, 4))


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2D(4, 1, groups=4, activation="tanh"),),
        (nn.DepthwiseConv2D(3, activation="sigmoid"), nn.GroupNormalization(2)),
        (nn.LayerNormalization(),),
        (nn.GlobalAveragePooling2D(), nn.Softmax()),
    ],
    ids=["grouped", "group normalization", "layer normalization", "softmax"],
)
def test_what_is_not_certain_varies(layers):
    expected = [False, True, False, False] if isinstance(layers[0], nn.Conv2D) else [False] * 4
    assert agrees(begun(*layers)).tolist() == expected


@pytest.mark.parametrize(
    "layers",
    [
        (nn.BatchNormalization(), nn.ReLU(max_value=6.0)),
        (nn.PReLU(), nn.ELU()),
        (nn.PReLU(shared_axes=[1, 2]), nn.Activation("gelu")),
        (nn.MaxPooling2D(3, 2, padding="same"), nn.AveragePooling2D(2, padding="same")),
        (nn.UpSampling2D(2), nn.Resizing(5, 7), nn.Cropping2D(1)),
        (nn.GlobalMaxPooling2D(),),
        (nn.DepthwiseConv2D(3),),
        (nn.Dropout(0.5), nn.GaussianNoise(0.5), nn.Rescaling(3.0, -1.0)),
        (nn.Permute((3, 1, 2)), nn.Permute((2, 3, 1))),
        (nn.Reshape((-1, 4)), nn.GlobalAveragePooling1D()),
    ],
    ids=lambda layers: "-".join(type(layer).__name__ for layer in layers),
)
def test_layers_that_leave_channels_apart_keep_constants(layers):
    assert agrees(begun(*layers)).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    "layer", [nn.ZeroPadding2D(1), nn.DepthwiseConv2D(3, padding="same", use_bias=False)], ids=["pad", "depthwise"]
)
def test_padding_keeps_zeros_only(layer):
    def of(bias):
        return agrees(begun(type(layer).from_config(layer.get_config()), bias=bias)).tolist()

    assert of(0.5) == [False] * 4
    assert of(0.0) == [False, True, False, False]


def test_channels_that_padding_loses_have_a_reason():
    model = begun(nn.ZeroPadding2D(1, name="pad"), nn.Conv2D(2, 3))
    found = channels(model)
    ((ids, why),) = constants(found).lost
    assert (ids.tolist(), why) == ([found.sources[0].ids[1]], "pad pads them with zeros")


def test_training_mode_makes_nothing_constant():
    inputs = k.Input((4,))
    x = nn.BatchNormalization()(nn.Dense(3, kernel_initializer="zeros")(inputs), training=True)
    assert np.isnan(last(k.Model(inputs, x))).all()


def test_layers_that_keras_quantized_make_nothing_constant():
    model = k.Sequential([k.Input((4,)), nn.Dense(3, kernel_initializer="zeros")])
    assert not np.isnan(last(model)).any()
    model.layers[0].quantize("int8")
    assert np.isnan(last(model)).all()


def test_an_output_that_only_reads_constants_is_one():
    head = nn.Conv2D(3, 3, activation="tanh")
    model = begun(head, dead=(0, 2))
    kernel = np.asarray(head.kernel).copy()
    kernel[:, :, [1, 3], 1] = 0
    head.kernel.assign(kernel)
    assert agrees(model).tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(None, None, 3), (8, 8, 3)], ids=["any size", "one size"])
def test_channels_next_to_each_other_and_parts_of_them(shape):
    inputs = k.Input(shape)
    model = begun(shape=shape)
    x = model(inputs)
    left, right = k.ops.split(nn.Concatenate()([x, nn.ReLU()(x)]), [3], axis=-1)
    whole = nn.Concatenate()([right, k.ops.multiply(left, 2.0)])
    known = along(last(k.Model(inputs, whole)), -1, 8)
    np.testing.assert_array_equal(known, [NAN, NAN, 0.5, NAN, NAN, NAN, 1.0, NAN])


def test_operations_on_axes_and_positions():
    inputs = k.Input((8, 8, 3))
    x = begun()(inputs)
    outputs = {
        "mean": k.ops.mean(x, axis=(1, 2)),
        "sum": k.ops.sum(k.ops.transpose(x, (0, 3, 1, 2)), axis=(2, 3)),
        "item": x[:, 2, 3:4, :],
        "flat": k.ops.reshape(x, (-1, 144)),
        "stack": k.ops.stack([x[:, 0, 0], x[:, 1, 1]], axis=1),
        "flip": k.ops.flip(x, axis=-1),
    }
    found = {name: along(last(k.Model(inputs, y)), -1, y.shape[-1]) for name, y in outputs.items()}
    alone = [NAN, 0.5, NAN, NAN]
    for name in ("mean", "item", "stack"):
        np.testing.assert_array_equal(found[name], alone)
    np.testing.assert_allclose(found["sum"], [NAN, 18.0, NAN, NAN], rtol=1e-6)
    np.testing.assert_array_equal(found["flat"], alone * 36)
    np.testing.assert_array_equal(found["flip"], alone[::-1])


def test_an_array_for_each_channel_or_place_is_taken_into_account():
    inputs = k.Input((8, 9, 3))  # with a square Keras 3.15 adds the second array along the other axis
    x = begun(shape=(8, 9, 3))(inputs)
    shifted = k.Model(inputs, k.ops.add(x, np.arange(4.0, dtype="float32")))
    np.testing.assert_array_equal(along(last(shifted), -1, 4), [NAN, 1.5, NAN, NAN])
    placed = k.Model(inputs, k.ops.add(x, np.arange(7.0, dtype="float32")[:, None]))
    assert agrees(placed).tolist() == [False] * 4  # not the same at every place
    assert not np.isnan(last(placed)[..., 1]).any()  # but known at each


def test_zero_times_what_varies_is_zero():
    inputs, other = k.Input((4,)), k.Input((3,))
    x = nn.Dense(3, kernel_initializer="zeros", bias_initializer="zeros")(inputs)
    assert agrees(k.Model([inputs, other], nn.Multiply()([x, other]))).all()
    assert not agrees(k.Model([inputs, other], nn.Add()([x, other]))).any()
    assert agrees(k.Model([inputs, other], k.ops.multiply(other, x))).all()


def test_numbers_that_are_not_finite_are_not_known():
    inputs = k.Input((4,))
    x = nn.Dense(3, kernel_initializer="zeros", bias_initializer=k.initializers.Constant(-1.0))(inputs)
    assert np.isnan(last(k.Model(inputs, k.ops.log(x)))).all()


def test_axes_along_which_all_is_the_same_become_short():
    array = np.array([[[1.0, NAN], [1.0, NAN]], [[1.0, NAN], [1.0, NAN]]])
    assert compact(array).shape == (1, 1, 2)
    assert compact(np.array([[[1.0, NAN], [1.0, 2.0]]])).shape == (1, 2, 2)
