"""Channels that nothing reads go, and outputs stay; what is left alone and what is told of it; random sparse models."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.model.rebuild import fingerprint
from kcompress.model.view import nodes, parameters
from kcompress.passes.base import Context, Skip
from kcompress.passes.prune.dead import PruneDead
from kcompress.passes.prune.magnitude import PruneMagnitude
from tests.models import BUILDERS, dense, keras, seeded
from tests.passes.models import convolutional, everything
from tests.passes.prune.planted import checked, constant, plant, reasons, stacked, told

k = keras()
nn = k.layers


def test_a_unit_whose_outgoing_weights_are_zero_goes():
    result = checked(plant(dense(), head__kernel=([3, 7], 0)))
    assert told(result) == {"hidden": "units 16 to 14", "head": "inputs 16 to 14"}
    np.testing.assert_array_equal(
        result.model.layers[0].kernel, np.delete(np.asarray(dense().layers[0].kernel), [3, 7], axis=1)
    )


def test_where_nothing_is_dead_the_model_comes_back_as_a_copy():
    model = convolutional()
    result = checked(model)
    assert result.changes == ()
    assert fingerprint(result.model) == fingerprint(model)
    assert reasons(result) == {
        "conv_a": "no channel of it is dead",
        "conv_b": "no channel of it is dead",
        "head": "its output is an output of the model",
    }


def test_a_unit_that_one_of_two_layers_reads_stays():
    inputs = k.Input((4,))
    x = nn.Dense(6, name="hidden")(inputs)
    model = seeded(k.Model(inputs, [nn.Dense(2, name="a")(x), nn.Dense(3, name="b")(x)]))
    plant(model, a__kernel=([1, 2], 0), b__kernel=([2, 3], 0))
    assert told(checked(model)) == {"hidden": "units 6 to 5", "a": "inputs 6 to 5", "b": "inputs 6 to 5"}


def test_a_unit_that_is_an_output_too_stays():
    inputs = k.Input((4,))
    x = nn.Dense(6, name="hidden")(inputs)
    model = plant(seeded(k.Model(inputs, [x, nn.Dense(2, name="head")(x)])), head__kernel=(1, 0))
    assert reasons(checked(model))["hidden"] == "its output is an output of the model"


def test_units_before_one_that_goes_may_go_then():
    model = stacked(*(nn.Dense(8, "tanh", name=n) for n in "abc"), nn.Dense(2, name="head"), shape=(5,))
    plant(
        model, head__kernel=([0, 1], 0), c__kernel=(np.s_[[2, 3], 2:], 0), b__kernel=(np.s_[5, [0, 1, 4, 5, 6, 7]], 0)
    )
    assert told(checked(model)) == {
        "a": "units 8 to 7",  # 5 is read by 2 and 3 of b only
        "b": "units 8 to 6, inputs 8 to 7",  # 2 and 3 are read by 0 and 1 of c only
        "c": "units 8 to 6, inputs 8 to 6",
        "head": "inputs 8 to 6",
    }


def test_of_a_branch_that_nothing_reads_one_channel_is_left_in_each_layer():
    inputs = k.Input((8, 8, 3))
    x = nn.Conv2D(4, 3, name="left")(inputs)
    y = nn.Conv2D(6, 3, name="right_b")(nn.Conv2D(5, 1, activation="relu", name="right_a")(inputs))
    x = nn.Concatenate(name="both")([x, y])
    model = seeded(k.Model(inputs, nn.Conv2D(2, 1, name="head")(x)))
    plant(model, head__kernel=(np.s_[:, :, 4:], 0))
    assert told(checked(model)) == {
        "right_a": "filters 5 to 1",
        "right_b": "filters 6 to 1, inputs 5 to 1",
        "head": "inputs 10 to 5",
    }


def test_what_only_reads_itself_goes():
    model = stacked(nn.LSTM(5, return_sequences=True, name="lstm"), nn.GRU(4, name="gru"), nn.Dense(2), shape=(6, 3))
    plant(
        model, gru__gru_cell__kernel=(2, 0), lstm__lstm_cell__recurrent_kernel=(np.s_[2, [0, 1, 3, 4, 5, 6, 8, 9]], 0)
    )
    plant(model, lstm__lstm_cell__recurrent_kernel=(np.s_[2, [10, 11, 13, 14, 15, 16, 18, 19]], 0))
    assert told(checked(model)) == {"lstm/lstm_cell": "units 5 to 4", "gru/gru_cell": "inputs 5 to 4"}


@pytest.mark.parametrize("single", [nn.GRU(1), nn.Conv1D(4, 1, groups=4), nn.MultiHeadAttention(1, 1)])
def test_what_a_single_unit_head_or_input_of_a_group_reads_stays(single):
    inputs = k.Input((6, 3))
    x = nn.Dense(4, name="second")(nn.Dense(5, name="first")(inputs))
    x = single(x, x) if isinstance(single, nn.MultiHeadAttention) else single(x)
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(x)))
    assert checked(model).changes == ()


def test_what_another_unit_of_a_recurrent_layer_reads_stays():
    model = stacked(nn.LSTM(5, name="lstm"), nn.Dense(2, name="head"), shape=(6, 3))
    assert checked(plant(model, head__kernel=(2, 0))).changes == ()


def test_a_layer_that_is_left_alone_keeps_its_own_channels_only():
    model = stacked(*(nn.Dense(8, "tanh", name=n) for n in "ab"), nn.Dense(2, name="head"), shape=(5,))
    plant(model, b__kernel=(1, 0), head__kernel=([2, 3], 0))
    both = {"a": "units 8 to 7", "b": "units 8 to 6, inputs 8 to 7", "head": "inputs 8 to 6"}
    assert told(checked(model)) == both
    expected = {"a": "units 8 to 7", "b": "inputs 8 to 7; its own channels are left alone"}
    assert told(checked(model, skip="b")) == expected
    assert told(checked(model, rules=[{"layers": "b", "skip": True}])) == expected
    assert told(checked(model, layers="b")) == {"b": "units 8 to 6"}
    result = checked(model, skip="a")
    assert told(result) == {"b": "units 8 to 6", "head": "inputs 8 to 6"}
    assert result.skipped == (Skip("a", "asked for by skip 'a'", asked=True),)


def test_layers_out_of_reach_say_why():
    class Own(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = nn.Dense(4, name="inner")

        def call(self, x):
            return self.inner(x)

    inputs = k.Input((4,), name="x")
    own = Own(name="own")
    model = k.Model(inputs, nn.Dense(2, name="head")(own(nn.Dense(4, name="first")(inputs))))
    found = PruneDead().apply(seeded(model), Context())
    assert reasons(found) == {
        "first": "own, a custom layer, uses it",
        "own/inner": "it is not known what own does to channels",
        "head": "its output is an output of the model",
    }


def test_compile_state_and_frozen_layers_survive():
    model = constant(reader=nn.Conv2D(5, 3, use_bias=False, name="reader"))
    model.get_layer("reader").trainable = False
    model.compile("sgd", "mse")
    result = checked(model).model
    assert not result.get_layer("reader").trainable
    assert result.loss == "mse"


@settings(max_examples=8)
@given(
    st.sampled_from([*BUILDERS, "convolutional", "everything"]), st.sampled_from([0.6, 0.9, 0.97]), st.integers(0, 99)
)
def test_sparse_models_get_smaller_and_give_the_same(name, sparsity, seed):
    model = {**BUILDERS, "convolutional": convolutional, "everything": everything}[name]()
    random = np.random.default_rng(seed)
    for node in nodes(model):
        for weight in node.weights:
            if weight.learned and weight.role != "other":
                values = weight.values
                keep = random.random(values.shape) >= sparsity
                if weight.role == "kernel":
                    keep &= random.random(values.shape[-1]) >= 0.3
                weight.variable.assign(np.where(keep, values, 0))
    result = checked(model)
    assert parameters(result.model) <= parameters(model)


@pytest.mark.parametrize(("name", "sparsity"), [("lenet300", 0.98), ("resnet8", 0.98)])
def test_zeros_of_trained_models_become_savings(fixtures, name, sparsity):
    model = k.models.load_model(fixtures / f"{name}.keras", compile=False)
    pruned = PruneMagnitude(sparsity=sparsity, ranking="global").apply(model, Context()).model
    result = checked(pruned)
    assert parameters(result.model) < parameters(model)
