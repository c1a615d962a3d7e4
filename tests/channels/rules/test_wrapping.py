"""Layers around layers and models: the inner one is cut by its own rule."""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from kcompress.errors import UnsupportedError
from tests.channels.cutting import OUTPUT, proved
from tests.models import keras

k = keras()
nn = k.layers


def model(*layers, shape=(5, 6)):
    return k.Sequential([k.Input(shape), *layers, nn.Flatten(), nn.Dense(3)])


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave"])
def test_both_directions_have_the_same_units(mode):
    layers = nn.Dense(4), nn.Bidirectional(nn.LSTM(6, return_sequences=True), mode)
    proved(model(*layers), 4 + 6, {OUTPUT: 3})


def test_a_layer_of_its_own_for_the_way_back_is_cut():
    back = nn.GRU(6, activation="relu", go_backwards=True)
    proved(model(nn.Bidirectional(nn.GRU(6), backward_layer=back)), 6, {OUTPUT: 3})


@pytest.mark.parametrize("mode", ["concat", None])
def test_states_of_both_directions_are_given_and_taken(mode):
    x, z = k.Input((5, 6)), k.Input((4, 3))
    *outputs, a, b, c, d = nn.Bidirectional(nn.LSTM(6, return_state=True, return_sequences=True), mode)(x)
    *others, e, f = nn.Bidirectional(nn.GRU(6, return_state=True), mode)(z, initial_state=[a, c])
    merged = [nn.Dense(3)(nn.Flatten()(y)) for y in (*outputs, *others, nn.Add()([b, d]), nn.Concatenate()([e, f]))]
    proved(k.Model([x, z], merged), 6, {OUTPUT: 3 * len(merged)})


def test_both_directions_of_a_layer_that_is_not_followed_are_pinned():
    layers = nn.Dense(4), nn.Bidirectional(nn.LSTM(6, activation="softmax", name="mixer")), nn.Dense(5)
    why = "bidirectional/forward_mixer, whose cell is of type LSTMCell, uses it"
    proved(model(*layers), 5, {OUTPUT: 3, why: 4})


def test_a_layer_for_each_step_is_cut_and_steps_stay():
    steps = nn.TimeDistributed(nn.Conv2D(4, 3, activation="relu")), nn.TimeDistributed(nn.BatchNormalization())
    layers = *steps, nn.TimeDistributed(nn.GlobalMaxPooling2D()), nn.GRU(5)
    proved(model(*layers, shape=(3, 8, 8, 2)), 4 + 5, {OUTPUT: 3})


def test_channels_that_are_taken_for_steps_stay():
    layers = nn.Dense(4), nn.Permute((2, 1)), nn.TimeDistributed(nn.Dense(7), name="each")
    proved(model(*layers), 7, {OUTPUT: 3, "each steps along it": 4})


def test_a_model_for_each_step_is_cut():
    inner = k.Sequential([k.Input((8, 8, 3)), nn.Conv2D(6, 3), nn.ReLU(), nn.GlobalMaxPooling2D()], name="frames")
    i = k.Input((6,))
    block = k.Model(i, i + nn.Dense(6)(nn.Dense(9, "relu")(i)), name="block")
    layers = nn.TimeDistributed(inner), nn.TimeDistributed(block), nn.LSTM(5)
    proved(model(*layers, shape=(4, 8, 8, 3)), 6 + 9 + 5, {OUTPUT: 3})


def test_a_spectral_norm_is_cut_with_the_kernel_that_it_is_of():
    layers = nn.SpectralNormalization(nn.Conv2D(6, 3)), nn.SpectralNormalization(nn.Dense(5))
    proved(model(*layers, shape=(8, 8, 3)), 6 + 5, {OUTPUT: 3})


def test_a_layer_that_is_in_a_wrapper_and_alone_too_is_refused():
    x, shared = k.Input((5, 6)), nn.Dense(7, name="shared")
    y = nn.Add()([nn.TimeDistributed(shared)(x), shared(x)])
    model = k.Model(x, nn.Dense(3)(nn.Flatten()(y)), name="whole")
    found = channels(model)
    assert found.units.count - len(found.units.pinned) == 7
    with pytest.raises(UnsupportedError, match="'whole' holds a layer in several places"):
        cut(model, found, np.zeros(found.units.count, bool))


def test_a_mask_that_comes_with_the_tensors_changes_nothing():
    tokens = k.Input((6,), dtype="int32")
    x = nn.Embedding(50, 8, mask_zero=True)(tokens)
    x = nn.Bidirectional(nn.LSTM(6, return_sequences=True))(nn.TimeDistributed(nn.Dense(7))(x))
    x = nn.GlobalAveragePooling1D()(nn.GRU(5, return_sequences=True)(x))
    proved(k.Model(tokens, nn.Dense(3)(x)), 8 + 7 + 6 + 5, {OUTPUT: 3})
