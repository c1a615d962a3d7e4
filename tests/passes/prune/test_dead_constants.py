"""Channels that always hold one number are folded into what reads them, where that is exact.

Covers: passes/prune/_constants.py.
"""

import numpy as np
import pytest

from kcompress.quantization.plan import FLOAT16, QuantPlan
from tests.models import keras, seeded
from tests.passes.prune.planted import checked, constant, plant, reasons, stacked, told

k = keras()
nn = k.layers


@pytest.mark.parametrize(
    "between",
    [
        (),
        (nn.BatchNormalization(), nn.ReLU()),
        (nn.Activation("silu"), nn.MaxPooling2D(2, padding="same"), nn.Dropout(0.5)),
        (nn.AveragePooling2D(3, 1, padding="same"), nn.PReLU(), nn.LeakyReLU(0.3)),
        (nn.UpSampling2D(2, interpolation="bilinear"), nn.Cropping2D(1), nn.Rescaling(2.0, 1.0)),
        (nn.DepthwiseConv2D(3, depth_multiplier=2, activation="gelu"), nn.SpatialDropout2D(0.5)),
        (nn.Reshape((36, 4)), nn.Permute((2, 1)), nn.Permute((2, 1)), nn.Reshape((6, 6, 4))),
    ],
    ids=lambda layers: "-".join(type(layer).__name__ for layer in layers) or "nothing",
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_constant_is_folded_into_the_bias_of_what_reads_it(between, bias):
    copies = [layer.__class__.from_config(layer.get_config()) for layer in between]
    result = checked(constant(3.0, nn.Conv2D(5, 3, use_bias=bias, name="reader"), copies))
    assert told(result)["conv"] == "filters 4 to 3"
    constants = 2 if any(isinstance(layer, nn.DepthwiseConv2D) for layer in between) else 1
    assert told(result)["reader"].endswith(f"{constants} of them constant")
    assert result.model.get_layer("reader").use_bias


@pytest.mark.parametrize(
    ("reader", "between", "reason"),
    [
        (nn.Conv2D(5, 3, padding="same", name="reader"), (), "reader pads them with zeros"),
        (nn.Conv2D(5, 3, name="reader"), (nn.ZeroPadding2D(1, name="pad"),), "pad pads them with zeros"),
        (
            nn.Conv2D(5, 3, name="reader"),
            (nn.DepthwiseConv2D(3, padding="same", name="dw"),),
            "dw pads them with zeros",
        ),
        (
            nn.Conv2DTranspose(5, 3, name="reader"),
            (),
            "reader, which is transposed, does not use them alike everywhere",
        ),
    ],
    ids=["same", "padding", "depthwise", "transposed"],
)
def test_a_constant_other_than_zero_stays_where_zeros_are_mixed_in_but_zero_does_not(reader, between, reason):
    def fresh():
        return [each.__class__.from_config(each.get_config()) for each in (reader, *between)]

    first, *rest = fresh()
    result = checked(constant(0.5, first, rest))
    assert result.changes == ()
    assert reasons(result)["conv"] == f"1 of its channels is constant, but {reason}"
    first, *rest = fresh()
    for layer in rest:
        if isinstance(layer, nn.DepthwiseConv2D):
            layer.use_bias = False
    assert told(checked(constant(0.0, first, rest)))["conv"] == "filters 4 to 3"


def test_a_constant_goes_on_through_layers_that_read_nothing_else():
    model = stacked(*(nn.Dense(4, "tanh", name=n) for n in "ab"), nn.Dense(2, name="head"), shape=(5,))
    plant(model, a__kernel=(np.s_[:, 1], 0), b__kernel=(np.s_[[0, 2, 3], 2], 0))
    assert told(checked(model)) == {
        "a": "units 4 to 3",
        "b": "units 4 to 3, inputs 4 to 3, 1 of them constant",
        "head": "inputs 4 to 3, 1 of them constant",
    }


def test_a_scale_of_zero_makes_a_constant_of_what_varies():
    model = stacked(
        nn.Conv2D(4, 3, name="conv"), nn.BatchNormalization(name="bn"), nn.ReLU(), nn.Conv2D(5, 1, name="b")
    )
    plant(model, bn__gamma=(2, 0), bn__beta=(2, 0.7))
    assert told(checked(model)) == {"conv": "filters 4 to 3", "b": "inputs 4 to 3, 1 of them constant"}


@pytest.mark.parametrize("dead", [("a",), ("b",), ("a", "b")])
def test_a_channel_of_a_sum_goes_if_every_summand_is_constant(dead):
    inputs = k.Input((8, 8, 3))
    x = nn.Add(name="sum")([nn.Conv2D(4, 3, name="a")(inputs), nn.Conv2D(4, 3, name="b")(inputs)])
    model = seeded(k.Model(inputs, nn.Conv2D(5, 1, name="reader")(nn.ReLU()(x))))
    plant(model, **{f"{name}__kernel": (np.s_[..., 1], 0) for name in dead})
    plant(model, a__bias=(1, 0.7))
    expected = {"a": "filters 4 to 3", "b": "filters 4 to 3", "reader": "inputs 4 to 3, 1 of them constant"}
    assert told(checked(model)) == (expected if len(dead) == 2 else {})


def test_a_channel_that_is_multiplied_by_zero_goes():
    inputs = k.Input((8, 8, 4))
    x = nn.Conv2D(6, 3, use_bias=False, name="conv")(inputs)
    gate = nn.Dense(6, "sigmoid", name="gate")(nn.GlobalAveragePooling2D(keepdims=True)(x))
    x = nn.Multiply()([x, gate])
    model = seeded(k.Model(inputs, nn.Conv2D(2, 3, padding="same", name="head")(x)))
    plant(model, conv__kernel=(np.s_[..., 2], 0))
    assert told(checked(model)) == {
        "conv": "filters 6 to 5",
        "gate": "units 6 to 5, inputs 6 to 5",
        "head": "inputs 6 to 5",
    }


def test_flattened_channels_are_folded_at_every_position():
    model = stacked(nn.Conv2D(4, 3, name="conv"), nn.Flatten(), nn.Dense(2, name="head"))
    result = checked(plant(model, conv__kernel=(np.s_[..., 1], 0)))
    assert told(result) == {"conv": "filters 4 to 3", "head": "inputs 144 to 108, 36 of them constant"}


def test_of_channels_that_all_are_constant_one_is_left_and_keeps_its_value():
    model = stacked(nn.Conv2D(4, 3, name="conv"), nn.Conv2D(5, 3, name="b"), nn.Flatten(), nn.Dense(2, name="head"))
    result = checked(plant(model, conv__kernel=(..., 0)))
    assert told(result)["conv"] == "filters 4 to 1"
    inputs = k.Input((3,))
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(nn.Dense(4, name="a")(nn.Dense(4, name="c")(inputs)))))
    plant(model, a__kernel=(np.s_[1:], 0), c__kernel=(np.s_[:, 0], 0))  # all of a is made from a constant
    assert told(checked(model))["a"] == "units 4 to 1, inputs 4 to 1"


@pytest.mark.parametrize("both", [False, True], ids=["chain", "both read"])
def test_a_constant_that_is_left_keeps_what_makes_it_if_that_can_not_be_folded(both):
    """All of a and b is constant; what is left of b is made of unit 2 of a, so that no other one of a is left."""
    inputs = k.Input((3,))
    x = nn.Dense(4, name="a")(inputs)
    y = nn.Dense(4, name="b")(x)
    read = nn.Concatenate()([x, y, inputs]) if both else nn.Concatenate()([y, inputs])
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(read)))
    plant(model, a__kernel=(..., 0), b__kernel=([0, 1, 3], 0), b__bias=(..., 0.5))
    result = checked(model, QuantPlan({"b/bias": FLOAT16}))
    inputs = "inputs 11 to 5, 6 of them constant" if both else "inputs 7 to 4, 3 of them constant"
    assert told(result) == {"a": "units 4 to 1", "b": "units 4 to 1, inputs 4 to 1", "head": inputs}


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.SimpleRNN])
def test_a_recurrent_unit_whose_new_state_always_is_zero_goes(cell):
    layer = cell(5, return_sequences=True, name="rnn")
    model = stacked(layer, nn.Conv1D(4, 3, padding="same", name="conv"), shape=(6, 3))
    part = {nn.LSTM: 10, nn.GRU: 10, nn.SimpleRNN: 0}[cell]
    for variable in layer.cell.weights:
        values = np.asarray(variable).copy()
        values[..., part + 2] = 0
        variable.assign(values)
    result = checked(model)
    assert told(result)["conv"] == "inputs 5 to 4"
    values = np.asarray(layer.cell.weights[0]).copy()
    values[0, part + 2] = 0.1
    layer.cell.weights[0].assign(values)
    assert checked(model).changes == ()


@pytest.mark.parametrize(("cell", "name"), [(nn.LSTM, "lstm_cell"), (nn.SimpleRNN, "simple_rnn_cell")])
def test_recurrent_units_that_only_drive_each_other_go_but_not_one_that_another_drives(cell, name):
    model = stacked(cell(5, return_sequences=True, name="rnn"), nn.Dense(2, name="head"), shape=(6, 3))
    new = 10 if cell is nn.LSTM else 0  # where the gate of the new state begins
    parts = {"kernel": np.s_[:, [new + 2, new + 4]], "bias": [new + 2, new + 4]}
    plant(model, **{f"rnn__{name}__{part}": (where, 0) for part, where in parts.items()})
    others = np.s_[[[0], [1], [3]], [new + 2, new + 4]]
    back = f"rnn__{name}__recurrent_kernel"
    assert told(checked(plant(model, **{back: (others, 0)}))) == {
        f"rnn/{name}": "units 5 to 3",
        "head": "inputs 5 to 3",
    }
    assert checked(plant(model, **{back: (np.s_[1, new + 2], 0.3)})).changes == ()


def test_a_state_that_may_begin_with_other_than_zero_stays():
    inputs, state = k.Input((6, 3)), k.Input((5,))
    layer = nn.SimpleRNN(5, return_sequences=True, name="rnn")
    x = layer(inputs, initial_state=nn.Dense(5, name="state")(state))
    model = seeded(k.Model([inputs, state], nn.Dense(2, name="head")(x)))
    plant(model, rnn__simple_rnn_cell__kernel=(np.s_[:, 2], 0), rnn__simple_rnn_cell__bias=(2, 0))
    plant(model, rnn__simple_rnn_cell__recurrent_kernel=(np.s_[:, 2], 0))
    assert checked(model).changes == ()


def test_both_directions_lose_a_unit_that_is_zero_in_both():
    both = nn.Bidirectional(nn.LSTM(5, return_sequences=True, name="lstm"), name="both")
    model = stacked(both, nn.Dense(3, name="head"), shape=(6, 3))
    for number, layer in enumerate((both.forward_layer, both.backward_layer)):
        for variable in layer.cell.weights:
            values = np.asarray(variable).copy()
            values[..., 12] = 0
            variable.assign(values)
        expected = {
            "both/forward_lstm/lstm_cell": "units 5 to 4",
            "both/backward_lstm/lstm_cell": "units 5 to 4",
            "head": "inputs 10 to 8",
        }
        assert told(checked(model)) == (expected if number else {})


def test_an_embedding_loses_a_column_that_is_the_same_for_all():
    model = stacked(nn.Embedding(9, 4, name="table"), nn.Conv1D(3, 2, name="conv"), shape=(6,))
    plant(model, table__embeddings=(np.s_[:, 2], 0.25))
    assert told(checked(model)) == {"table": "outputs 4 to 3", "conv": "inputs 4 to 3, 1 of them constant"}


def test_heads_and_widths_of_attention_go():
    inputs = k.Input((6, 8))
    x = nn.MultiHeadAttention(3, 4, name="mha")(inputs, inputs)
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(x)))
    plant(model, mha__attention_output__kernel=(1, 0), head__kernel=(5, 0))
    assert told(checked(model)) == {
        "mha/query": "heads 3 to 2",
        "mha/key": "heads 3 to 2",
        "mha/value": "heads 3 to 2",
        "mha/attention_output": "inputs 12 to 8",
    }
    plant(model, mha__key__kernel=(np.s_[:, :, 2], 0), mha__key__bias=(np.s_[:, 2], 0))
    assert told(checked(model))["mha/query"] == "heads 3 to 2"  # values of that width are read
    plant(model, mha__attention_output__kernel=(np.s_[:, 2], 0))
    assert told(checked(model))["mha/query"] == "heads 3 to 2, width 4 to 3"
