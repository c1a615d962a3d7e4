"""Recurrent layers: units are outputs and states, of single cells, stacks of them and cells of convolutions."""

import pytest

from tests.channels.cutting import OUTPUT, proved
from tests.models import keras

k = keras()
nn = k.layers


def model(*layers, shape=(5, 6), **settings):
    return k.Sequential([k.Input(shape, **settings), *layers, nn.Flatten(), nn.Dense(3)])


LAYERS = {
    "LSTM": lambda: nn.LSTM(6, return_sequences=True),
    "LSTM without bias": lambda: nn.LSTM(6, use_bias=False, recurrent_activation="hard_sigmoid"),
    "GRU": lambda: nn.GRU(6),
    "GRU, reset before": lambda: nn.GRU(6, reset_after=False, go_backwards=True),
    "SimpleRNN": lambda: nn.SimpleRNN(6, unroll=True),
    "a cell": lambda: nn.RNN(nn.LSTMCell(6), return_sequences=True),
    "a cell with a number for its state": lambda: nn.RNN(nn.GRUCell(6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_units_of_recurrent_layers_can_go(name):
    proved(model(nn.Dense(4), LAYERS[name]()), 4 + 6, {OUTPUT: 3})


def test_an_activation_that_mixes_units_pins_them_and_what_they_read():
    layers = nn.Dense(4), nn.Dense(4), nn.LSTM(6, activation="softmax", name="mixer")
    proved(model(*layers), 4, {"mixer, whose cell is of type LSTMCell, uses it": 4, OUTPUT: 3})


def test_cells_on_top_of_each_other_each_have_their_units():
    cells = [nn.LSTMCell(6), nn.GRUCell(5), nn.SimpleRNNCell(4)]
    found = proved(model(nn.Dense(7), nn.RNN(cells, return_sequences=True)), 7 + 6 + 5 + 4, {OUTPUT: 3})
    assert [(source.what, len(source.ids)) for source in found.sources][1:4] == [
        ("units", 6),
        ("units", 5),
        ("units", 4),
    ]


def test_states_that_are_given_and_taken_are_the_same_units():
    """An encoder and a decoder of sequences."""
    source, target = k.Input((5, 6)), k.Input((4, 3))
    _, h, c = nn.LSTM(8, return_state=True)(source)
    y = nn.LSTM(8, return_sequences=True)(target, initial_state=[h, c])
    z, s = nn.GRU(7, return_state=True, return_sequences=True)(y)
    outputs = [nn.Dense(3)(nn.Flatten()(nn.Concatenate()([y, z]))), nn.Dense(2)(nn.Multiply()([s, nn.Dense(7)(c)]))]
    proved(k.Model([source, target], outputs), 8 + 7, {OUTPUT: 5}, seeds=3)


def test_a_state_that_comes_from_the_inputs_pins_the_units():
    x, state = k.Input((5, 6)), k.Input((8,))
    y = nn.GRU(8, name="gru")(nn.Dense(4)(x), initial_state=state)
    proved(k.Model([x, state], nn.Dense(3)(y)), 4, {OUTPUT: 3, "gru takes its state from what stays": 8})


def test_a_mask_among_the_arguments_is_no_state():
    x, mask = k.Input((5, 6)), k.Input((5,), dtype="bool")
    y = nn.LSTM(8)(nn.Dense(4)(x), mask=mask)
    proved(k.Model([x, mask], nn.Dense(3)(y)), 4 + 8, {OUTPUT: 3})


def test_a_stateful_layer_is_cut_and_begins_anew():
    """Keras does not count its state among its weights, nor keep it in a file."""
    proved(model(nn.GRU(6, stateful=True), shape=(5, 4), batch_size=2), 6, {OUTPUT: 3})


CONVOLUTIONAL = {
    1: ((4, 9, 2), {}),
    2: ((3, 7, 7, 2), {"padding": "same", "return_sequences": True}),
    3: ((2, 4, 4, 4, 2), {"use_bias": False}),
}


@pytest.mark.parametrize("rank", CONVOLUTIONAL)
def test_filters_of_convolutional_cells_can_go(rank):
    shape, settings = CONVOLUTIONAL[rank]
    layer = getattr(nn, f"ConvLSTM{rank}D")
    proved(model(layer(5, 2, return_sequences=True), layer(4, 2, **settings), shape=shape), 5 + 4, {OUTPUT: 3})


def test_convolutional_cells_give_and_take_states_and_have_channels_in_front():
    x = k.Input((3, 2, 16, 16))
    settings = {"data_format": "channels_first", "padding": "same", "return_state": True}
    y, h, c = nn.ConvLSTM2D(5, 3, return_sequences=True, **settings)(x)
    y, *_ = nn.ConvLSTM2D(5, 3, **settings)(y, initial_state=[h, c])
    proved(k.Model(x, nn.Dense(3)(nn.Flatten("channels_first")(y))), 5, {OUTPUT: 3})
