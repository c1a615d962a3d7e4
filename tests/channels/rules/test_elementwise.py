"""Sums, activations, pooling and reductions: what belongs together, and what mixes channels."""

import numpy as np
import pytest

from kcompress.channels.cut import cut
from kcompress.channels.rules.elementwise import OPERATIONS
from kcompress.channels.rules.visit import is_elementwise
from tests.channels.cutting import OUTPUT, proved
from tests.models import keras

k = keras()
nn, ops = k.layers, k.ops
ALONG = "{} brings it together with what stays"


def head(x, *layers):
    for layer in layers:
        x = layer(x)
    return nn.Dense(3)(nn.Flatten()(x))


def image(size=8, channels=3):
    return k.Input((size, size, channels))


@pytest.mark.parametrize("merge", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"])
def test_channels_of_layers_that_are_merged_go_together(merge):
    x = image()
    parts = [nn.Conv2D(6, 3)(x) for _ in range(2)]
    proved(k.Model(x, head(getattr(nn, merge)()(parts))), 6, {OUTPUT: 3}, seeds=1)


def test_a_chain_of_residual_sums_is_one_group():
    x = image()
    y = nn.Conv2D(6, 3)(x)
    for _ in range(3):
        y = nn.Add()([y, nn.Conv2D(6, 3, padding="same")(nn.ReLU()(nn.BatchNormalization()(y)))])
    proved(k.Model(x, head(y)), 6, {OUTPUT: 3})


def test_what_is_added_to_the_inputs_stays():
    x = image(8, 6)
    y = nn.Conv2D(8, 3, padding="same")(x)
    y = nn.Add(name="add")([nn.Conv2D(6, 3, padding="same")(y), x])
    proved(k.Model(x, head(y)), 8, {OUTPUT: 3, ALONG.format("add"): 6})


def test_squeeze_and_excite_goes_with_the_channels_that_it_scales():
    x = image()
    y = nn.Conv2D(12, 3)(x)
    s = nn.GlobalAveragePooling2D(keepdims=True)(y)
    s = nn.Conv2D(12, 1, activation="sigmoid")(nn.Conv2D(4, 1, activation="relu")(s))
    proved(k.Model(x, head(nn.Multiply()([y, s]))), 12 + 4, {OUTPUT: 3})


def test_a_gate_of_one_channel_is_spread_over_all():
    x = image()
    y = nn.Conv2D(12, 3)(x)
    y = y * nn.Conv2D(1, 1, activation="sigmoid", name="gate")(y)
    proved(k.Model(x, head(y)), 12, {OUTPUT: 3, "it is all that gate/kernel has along an axis": 1})


def test_merging_layers_align_batches_where_ranks_differ():
    x = image()
    y = nn.Conv2D(6, 3)(x)
    proved(k.Model(x, head(nn.Multiply()([y, nn.Dense(6)(nn.GlobalMaxPooling2D()(y))]))), 6, {OUTPUT: 3})


NUMBERS = {
    "a number": lambda x: ops.add(x, 2.0) * 3,
    "one for all channels": lambda x: ops.multiply(x, np.ones((6, 6, 1), np.float32) * 2),
    "only layers": lambda x: ops.clip(ops.exp(-ops.sqrt(ops.abs(x))), 0.1, 0.9) ** 2.0 / 3.0,
    "a comparison": lambda x: ops.where(ops.greater(x, 0.1), x, x * 0.1),
}
ARRAYS = {
    "add": lambda x: ops.add(x, np.arange(6, dtype=np.float32)),
    "multiply": lambda x: x * np.arange(6, dtype=np.float32),
    "maximum": lambda x: ops.maximum(x1=x, x2=ops.arange(6, dtype="float32")),
    "where": lambda x: ops.where(np.arange(6) > 2, x, 0.0),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_are_the_same_for_all_channels_leave_them_free(name):
    x = image()
    proved(k.Model(x, head(NUMBERS[name](nn.Conv2D(6, 3)(x)))), 6, {OUTPUT: 3}, seeds=1)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_with_a_number_for_each_channel_pins_them(name):
    x = image()
    y = nn.Conv2D(8, 3, padding="same")(x)
    y = ARRAYS[name](nn.Conv2D(6, 3)(y))
    proved(k.Model(x, head(y)), 8, {OUTPUT: 3, ALONG.format(name): 6}, seeds=1)


def test_an_array_given_to_a_merging_layer_pins_the_channels():
    x = image()
    y = nn.Conv2D(6, 3, padding="same")(nn.Conv2D(8, 3, padding="same")(x))
    y = nn.Add(name="add")([y, np.ones((1, 8, 8, 6), np.float32)])
    proved(k.Model(x, head(y)), 8, {OUTPUT: 3, ALONG.format("add"): 6}, seeds=1)


def test_layers_for_training_and_activations_pass_channels_on():
    x = image(24)
    y = nn.Conv2D(8, 3)(x)
    passing = (nn.Dropout(0.1), nn.GaussianNoise(0.1), nn.SpatialDropout2D(0.1), nn.Identity(), nn.AlphaDropout(0.1))
    shaped = (nn.ZeroPadding2D(), nn.Cropping2D(1), nn.UpSampling2D(2), nn.Resizing(16, 16), nn.CenterCrop(14, 14))
    activations = (nn.ELU(), nn.LeakyReLU(), nn.ReLU(6.0), nn.Activation("gelu"), nn.PReLU())
    pooled = (nn.MaxPooling2D(2), nn.AveragePooling2D(2, padding="same"), nn.AdaptiveAveragePooling2D(3))
    other = (nn.PReLU(shared_axes=[1, 2]), nn.Rescaling(2.0, 1.0), nn.ActivityRegularization(0.1))
    proved(k.Model(x, head(y, *passing, *shaped, *activations, *pooled, *other)), 8, {OUTPUT: 3})


def test_the_shape_of_the_noise_of_a_dropout_is_cut():
    x = image()
    y = nn.Dropout(0.5, noise_shape=(None, 1, 1, 6))(nn.Conv2D(6, 3)(x))
    model = k.Model(x, head(nn.AlphaDropout(0.5, noise_shape=(None, 6, 6, 1))(y)))
    found = proved(model, 6, {OUTPUT: 3})
    smaller = cut(model, found, np.arange(found.units.count) < 2)
    shapes = [layer.noise_shape for layer in smaller.layers if hasattr(layer, "noise_shape")]
    assert shapes == [(None, 1, 1, 4), (None, 6, 6, 1)]
    assert np.isfinite(smaller(np.ones((2, 8, 8, 3)), training=True)).all()


def test_pooling_of_one_and_three_axes_leaves_channels_to_themselves():
    x, z = k.Input((12, 3)), k.Input((6, 6, 6, 2))
    y = nn.ZeroPadding1D(1)(nn.UpSampling1D(2)(nn.AveragePooling1D(2)(nn.Conv1D(8, 3)(x))))
    y = nn.GlobalAveragePooling1D()(nn.Cropping1D(1)(nn.AdaptiveMaxPooling1D(5)(nn.SpatialDropout1D(0.1)(y))))
    w = nn.Cropping3D(1)(nn.UpSampling3D(2)(nn.ZeroPadding3D()(nn.MaxPooling3D(2)(nn.Conv3D(7, 3)(z)))))
    w = nn.GlobalMaxPooling3D()(nn.AdaptiveAveragePooling3D(2)(nn.SpatialDropout3D(0.1)(w)))
    proved(k.Model([x, z], [nn.Dense(3)(y), nn.Dense(3)(w)]), 8 + 7, {OUTPUT: 6})


def test_the_layer_scale_of_convnext_is_cut_too():
    from keras.src.applications.convnext import LayerScale

    x = image()
    y = nn.Conv2D(6, 3)(x)
    y = y + LayerScale(1e-6, 6)(nn.Dense(6)(nn.Dense(12, "gelu")(y)))
    proved(k.Model(x, head(y)), 6 + 12, {OUTPUT: 3})


MIXING = {
    "softmax": (lambda x: nn.Softmax(name="mixer")(x), "mixer mixes it"),
    "softmax as an activation": (lambda x: nn.Activation("softmax", name="mixer")(x), "mixer mixes it"),
    "the operation": (lambda x: ops.softmax(x), "softmax mixes it"),
    "a cumulative sum": (lambda x: ops.cumsum(x, axis=-1), "cumsum mixes it"),
    "a norm": (lambda x: ops.normalize(x, axis=-1), "normalize mixes it"),
    "a mean": (lambda x: ops.mean(x, axis=(1, -1)), "mean puts its channels together"),
    "a maximum of all": (lambda x: x - ops.max(x), "max puts its channels together"),
    "numbers for each": (lambda x: nn.Rescaling([1.0, 2, 3, 4, 5, 6], name="mixer")(x), "mixer has numbers of its own"),
    "an operation without a rule": (lambda x: ops.sort(x), "sort, of type Sort, uses it"),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_channels_pins_them_and_not_those_before(name):
    mix, why = MIXING[name]
    x = image()
    y = nn.Conv2D(6, 3)(nn.Conv2D(8, 3)(x))
    if name == "numbers for each":
        why += " for each channel of it"
    proved(k.Model(x, head(mix(y))), 8, {OUTPUT: 3, why: 6}, seeds=1)


ALONE = {
    "softmax over positions": lambda x: nn.Softmax(axis=(1, 2))(x),
    "a layer over positions": lambda x: nn.Softmax(axis=1)(x),
    "with a mask": lambda x: ops.abs(nn.Softmax(axis=2)(x, mask=np.arange(6)[:, None] > 2)),
    "a mean": lambda x: ops.mean(x, axis=[1, 2]),
    "a maximum, axes kept": lambda x: ops.max(x, axis=(1, 2), keepdims=True) * x,
    "variance": lambda x: ops.var(x, axis=1) + ops.logsumexp(x, axis=1),
}


@pytest.mark.parametrize("name", ALONE)
def test_what_mixes_positions_leaves_channels_free(name):
    x = image()
    proved(k.Model(x, head(ALONE[name](nn.Conv2D(6, 3)(x)))), 6, {OUTPUT: 3}, seeds=1)


def test_activations_that_count_as_elementwise_are_just_that():
    """An activation is elementwise if changing one number changes none of the others."""
    others = ("deserialize", "get", "serialize", "threshold")  # the last one takes more than a tensor
    names = [name for name in dir(k.activations) if name[0].isalpha() and name not in others]
    functions = {name: getattr(k.activations, name) for name in names}
    assert len(functions) > 20
    x = np.linspace(-0.1, 0.1, 8, dtype=np.float32)[None]
    other = x + np.float32([0, 0, 0, 0.1, 0, 0, 0, 0])
    for name, function in functions.items():
        one, two = (np.asarray(function(ops.convert_to_tensor(values))) for values in (x, other))
        alone = one.shape == x.shape and np.array_equal(np.delete(one, 3, 1), np.delete(two, 3, 1))
        assert is_elementwise(function) == alone, name


def test_every_operation_in_the_table_exists_in_keras():
    """A name that Keras does not have would be a rule that never applies."""
    names = {c.__name__ for c in _subclasses(k.Operation) if c.__module__.startswith("keras.src.ops")}
    assert set(OPERATIONS) - names == set()


def _subclasses(cls):
    return {cls}.union(*map(_subclasses, cls.__subclasses__()))
