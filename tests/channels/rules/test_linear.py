"""Layers that make channels: which of their units can go, and that the cut model computes the same."""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from tests.channels.cutting import OUTPUT, proved, run, zeroed
from tests.models import keras, seeded

k = keras()
nn = k.layers


def chain(shape, *layers, dtype="float32"):
    """The layers one after the other, then a Dense layer of 3 outputs."""
    return k.Sequential([k.Input(shape, dtype=dtype), *layers, nn.Dense(3, name="head")])


def test_units_of_dense_layers_can_go_but_for_the_last_one():
    found = proved(chain((6,), nn.Dense(8, "relu"), nn.Dense(7, "tanh", use_bias=False)), 15, {OUTPUT: 3})
    assert [(source.what, len(source.ids)) for source in found.sources] == [("units", 8), ("units", 7), ("units", 3)]


def test_a_dense_layer_works_on_the_last_of_many_axes():
    proved(chain((4, 5, 6), nn.Dense(8), nn.Dense(7, "gelu")), 15, {OUTPUT: 3})


def test_an_activation_across_channels_pins_them_and_no_others():
    for activation in ("softmax", "log_softmax", "sparsemax"):
        model = chain((6,), nn.Dense(8), nn.Dense(5, activation, name="mixer"))
        proved(model, 8, {"the activation of mixer mixes it": 5, OUTPUT: 3}, seeds=1)


def test_an_activation_that_is_not_of_keras_pins_its_channels():
    def doubled(x):
        return 2 * x

    model = chain((6,), nn.Dense(8), nn.Dense(5, doubled, name="own"))
    proved(model, 8, {"the activation of own mixes it": 5, OUTPUT: 3}, seeds=1)


def test_a_layer_with_one_unit_keeps_it():
    model = chain((6,), nn.Dense(8), nn.Dense(1, name="only"))
    proved(model, 8, {"it is all that only/kernel has along an axis": 1, OUTPUT: 3}, seeds=1)


def test_columns_of_an_embedding_can_go_with_a_mask_too():
    proved(chain((6,), nn.Embedding(50, 8, mask_zero=True), nn.LSTM(4), dtype="int32"), 12, {OUTPUT: 3})


def test_an_embedding_that_was_given_its_vectors_can_be_cut():
    vectors = k.initializers.Constant(np.random.default_rng(0).random((50, 8), np.float32))
    model = chain((6,), nn.Embedding(50, 8, embeddings_initializer=vectors, trainable=False), nn.Flatten())
    found = channels(model)
    smaller = cut(model, found, np.arange(found.units.count) < 4)
    np.testing.assert_allclose(smaller.layers[0].embeddings, np.asarray(model.layers[0].embeddings)[:, 4:])
    assert k.Sequential.from_config(smaller.get_config()).layers[0].output_dim == 4


@pytest.mark.parametrize("tied", [True, False])
def test_an_embedding_and_its_reverse_share_channels(tied):
    words = nn.ReversibleEmbedding(50, 8, tie_weights=tied, logit_soft_cap=9.0)
    tokens = k.Input((6,), dtype="int32")
    x = nn.Dense(8)(words(tokens))
    model = k.Model(tokens, words(x, reverse=True))
    proved(model, 8, {})


SLIDING = {
    "one axis, causal": ((9, 3), nn.Conv1D(6, 3, padding="causal"), nn.Conv1D(5, 3, dilation_rate=2), 11),
    "two axes": ((9, 8, 3), nn.Conv2D(6, 3, strides=2, padding="same"), nn.Conv2D(5, 2, activation="relu"), 11),
    "three axes": ((5, 5, 5, 2), nn.Conv3D(6, 2, use_bias=False), nn.Conv3D(5, 3, strides=2, padding="same"), 11),
    "transposed, one axis": ((4, 3), nn.Conv1DTranspose(6, 3), nn.Conv1DTranspose(5, 3, strides=2), 11),
    "transposed, two axes": ((4, 4, 3), nn.Conv2DTranspose(6, 3, strides=2), nn.Conv2DTranspose(5, 3), 11),
    "transposed, three axes": ((3, 3, 3, 2), nn.Conv3DTranspose(6, 2), nn.Conv3DTranspose(5, 2, use_bias=False), 11),
    "depthwise, one axis": ((9, 3), nn.Conv1D(6, 3), nn.DepthwiseConv1D(3, depth_multiplier=2), 6),
    "depthwise, two axes": ((9, 8, 3), nn.Conv2D(6, 3), nn.DepthwiseConv2D(3, depth_multiplier=3), 6),
    "separable, one axis": ((9, 3), nn.Conv1D(6, 3), nn.SeparableConv1D(5, 3, depth_multiplier=2), 11),
    "separable, two axes": ((9, 8, 3), nn.SeparableConv2D(6, 3), nn.SeparableConv2D(5, 3, padding="same"), 11),
    "as many groups as channels": ((6, 6, 3), nn.Conv2D(6, 3), nn.Conv2D(6, 3, groups=6), 6),
}


@pytest.mark.parametrize("name", SLIDING)
def test_filters_of_convolutions_can_go(name):
    shape, first, second, droppable = SLIDING[name]
    model = k.Sequential(
        [k.Input(shape), type(first).from_config(first.get_config()), second, nn.Flatten(), nn.Dense(3)]
    )
    proved(model, droppable, {OUTPUT: 3})


def test_groups_go_whole_and_places_go_from_all_groups():
    """12 inputs and 8 filters in 4 groups: 4 groups, 3 places of the inputs and 2 of the filters."""
    model = k.Sequential([k.Input((6, 6, 3)), nn.Conv2D(12, 3), nn.Conv2D(8, 3, groups=4), nn.Flatten(), nn.Dense(3)])
    found = proved(model, 4 + 3 + 2, {OUTPUT: 3}, seeds=4)
    units = found.units
    dropped = np.zeros(units.count, bool)
    (grouped,) = (found.fields[id(layer)] for layer in model.layers if getattr(layer, "groups", 1) > 1)
    dropped[units.of(grouped["groups"].ids[:1])] = True
    smaller = cut(model, found, dropped)
    assert [(layer.filters, layer.groups) for layer in smaller.layers[:2]] == [(9, 1), (6, 3)]


def test_inputs_that_are_read_in_groups_stay_whole_groups():
    model = k.Sequential([k.Input((6, 6, 4)), nn.Conv2D(8, 3, groups=2, name="g"), nn.Flatten(), nn.Dense(3)])
    proved(model, 4, {OUTPUT: 3, "g reads inputs that stay, in groups": 4})


def test_two_convolutions_with_other_groups_of_the_same_channels_agree():
    """Groups of 6 and of 4 of 12 channels overlap, so that all are one; even and odd places are left, in and out."""
    x = k.Input((6, 6, 3))
    y = nn.Conv2D(12, 3)(x)
    y = nn.Add()([nn.Conv2D(12, 1, groups=2)(y), nn.Conv2D(12, 1, groups=3)(y)])
    model = k.Model(x, nn.Dense(3)(nn.Flatten()(y)))
    proved(model, 2 + 2, {OUTPUT: 3, "it is all that conv2d/kernel has along an axis": 1})


EINSUMS = {
    "heads and widths": (("abc,cde->abde", (5, 4, 3), "de"), ("abde,def->abf", (5, 7), "f"), 4 + 3 + 7),
    "ellipsis": (("...x,xy->...y", 8, "y"), ("...x,xy->...y", 7, None), 8 + 7),
    "the axis of a batch in front": (("bqc,cd->bqd", (5, 8), "d"), ("abc,bcd->abd", (5, 4), None), 8 + 4),
    "bias along some": (("abc,cde->abde", (5, 4, 3), "d"), ("abde,de->abe", (5, 3), None), 4 + 3),
}


@pytest.mark.parametrize("name", EINSUMS)
def test_labels_of_an_einsum_that_the_kernel_alone_has_are_channels(name):
    first, second, droppable = EINSUMS[name]
    layers = [nn.EinsumDense(equation, shape, bias_axes=bias) for equation, shape, bias in (first, second)]
    model = k.Sequential([k.Input((5, 6)), *layers, nn.Flatten(), nn.Dense(3)])
    proved(model, droppable, {OUTPUT: 3})


def test_an_einsum_that_sums_without_the_kernel_pins_what_it_sums_over():
    layers = [nn.EinsumDense("abc,cde->abde", (5, 4, 3)), nn.EinsumDense("abde,df->abf", (5, 6), name="sums")]
    model = k.Sequential([k.Input((5, 6)), *layers, nn.Flatten(), nn.Dense(3)])
    proved(model, 4 + 6, {"sums sums over it": 3, OUTPUT: 3})


def test_a_layer_that_is_called_twice_has_its_channels_once():
    one, other, shared = k.Input((8, 8, 3)), k.Input((6, 6, 3)), nn.Conv2D(6, 3, activation="relu")
    x, y = (nn.GlobalMaxPooling2D()(shared(i)) for i in (one, other))
    proved(k.Model([one, other], nn.Dense(3)(nn.Subtract()([x, y]))), 6, {OUTPUT: 3})


def test_a_layer_that_is_called_on_its_own_output_reads_what_it_makes():
    x, shared = k.Input((6,)), nn.Dense(8, "tanh")
    proved(k.Model(x, nn.Dense(3)(shared(shared(nn.Dense(8)(x))))), 8, {OUTPUT: 3})


def test_a_layer_that_is_called_on_the_inputs_and_on_channels_pins_the_channels():
    x, shared = k.Input((8,)), nn.Dense(5, name="shared")
    y = nn.Add()([shared(x), shared(nn.Dense(8)(x))])
    proved(k.Model(x, nn.Dense(3)(y)), 5, {"shared/kernel is used where it can't be cut": 8, OUTPUT: 3})


def test_convolutions_with_channels_in_front_are_followed():
    """Images are wider than they have channels: Keras 3.15 adds the bias along the wrong axis if it has as many."""
    image = k.Input((3, 24, 24))
    settings = {"data_format": "channels_first"}
    x = nn.Conv2D(8, 3, **settings)(image)
    x = nn.BatchNormalization(axis=1)(x)
    x = nn.SeparableConv2D(6, 3, padding="same", **settings)(nn.DepthwiseConv2D(3, padding="same", **settings)(x))
    x = nn.Conv2DTranspose(7, 3, **settings)(nn.MaxPooling2D(2, **settings)(x))
    x = nn.Dense(3)(nn.Flatten(**settings)(nn.ZeroPadding2D(**settings)(x)))
    proved(k.Model(image, x), 8 + 6 + 7, {OUTPUT: 3})


def test_a_layer_that_keras_quantized_or_with_lora_weights_stays_and_names_itself():
    for change in (lambda layer: layer.quantize("int8"), lambda layer: layer.enable_lora(2)):
        model = chain((6,), nn.Dense(8), nn.Dense(7, name="special"), nn.Dense(5))
        change(model.layers[1])
        why = "special, which was quantized by Keras or has LoRA weights, uses it"
        found = channels(model)
        assert {why} == {found.units.pinned[u] for u in found.units.of(found.sources[0].ids)}
        dropped = np.zeros(found.units.count, bool)
        dropped[found.units.of(found.sources[1].ids)[:2]] = True  # of the last hidden layer
        smaller = cut(model, found, dropped)
        assert smaller.layers[2].units == 3
        x = [np.random.default_rng(0).random((2, 6), np.float32)]
        np.testing.assert_allclose(run(smaller, x)[0], run(zeroed(model, found, dropped), x)[0], atol=1e-5)


def test_seeded_weights_are_what_is_compared():
    """Were all weights alike, dropping the wrong ones would go unseen."""
    kernel = np.asarray(seeded(chain((6,), nn.Dense(8))).layers[0].kernel)
    assert len(np.unique(kernel)) == kernel.size
