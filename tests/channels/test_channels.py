"""Channels through whole models: nested, shared, of many inputs and outputs; settings and names; what is refused.

Covers: channels/masks.py, channels/trace.py.
"""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.trace import Size, Trace
from kcompress.errors import UnsupportedError
from kcompress.model.signature import signature
from tests.channels.cutting import OUTPUT, proved
from tests.models import BUILDERS, keras

k = keras()
nn, ops = k.layers, k.ops
MIXES = "the activation of {} mixes it"
BUILT_IN = {
    "dense": (16, {MIXES.format("head"): 3}),
    "two_in_two_out": (5 + 6, {MIXES.format("kind"): 3, OUTPUT: 2}),
    "recurrent": (4 + 2 + 3 + 4, {OUTPUT: 2}),
    "tokens": (8 + 4, {OUTPUT: 2}),
    # groups, places of the 16 inputs, which are 8 channels twice, places of the filters; the transposed convolution
    "residual": (2 + 4 + 4 + 4, {MIXES.format("head"): 3}),
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_small_models_of_the_tests_can_be_cut(name):
    proved(BUILDERS[name](), *BUILT_IN[name])


def backbone(name="backbone", channels=3):
    i = k.Input((8, 8, channels))
    y = nn.Conv2D(6, 3, padding="same", name="a")(i)
    y = nn.Add()([y, nn.Conv2D(6, 3, padding="same", name="b")(nn.ReLU()(nn.BatchNormalization()(y)))])
    return k.Model(i, y, name=name)


def test_a_backbone_inside_a_sequential_is_cut_with_the_head_around_it():
    layers = [k.Input((8, 8, 3)), backbone(), nn.GlobalAveragePooling2D(), nn.Dense(9, "relu", name="a"), nn.Dense(3)]
    found = proved(k.Sequential(layers), 6 + 9, {OUTPUT: 3})
    assert [source.layer for source in found.sources][:3] == ["backbone/a", "backbone/b", "a"]


def test_a_nested_model_that_takes_channels_gets_another_input_shape():
    x = k.Input((8, 8, 3))
    y = backbone(channels=5)(nn.Conv2D(5, 3, padding="same")(x))
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(y))), 5 + 6, {OUTPUT: 3})


def test_a_model_that_is_called_twice_has_its_channels_once():
    x, inner = k.Input((8, 8, 3)), backbone(channels=6)
    y = inner(inner(nn.Conv2D(6, 3, padding="same")(x)))
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(y))), 6, {OUTPUT: 3})


def test_a_model_that_is_called_on_channels_and_on_inputs_gives_some_and_takes_none():
    x, inner = k.Input((8, 8, 3)), backbone()
    y = nn.Concatenate()([inner(x), inner(nn.Conv2D(3, 3, padding="same")(x))])
    why = "backbone/a/kernel is used where it can't be cut"
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(y))), 6, {OUTPUT: 3, why: 3})


def test_models_in_models_in_models_are_followed():
    inner = k.Sequential([k.Input((6,)), nn.Dense(5, "relu", name="d"), nn.Dense(4, name="e")], name="inner")
    i = k.Input((6,))
    outer = k.Model(i, nn.Concatenate()([inner(i), i]), name="outer")
    x = k.Input((3,))
    found = proved(k.Model(x, nn.Dense(3)(outer(nn.Dense(6)(x)))), 6 + 5 + 4, {OUTPUT: 3})
    assert "outer/inner/d" in [source.layer for source in found.sources]


def test_a_sequential_that_was_built_by_its_call_is_followed():
    x, inner = k.Input((6,)), k.Sequential([nn.Dense(5, "relu"), nn.Dense(4)], name="inner")
    proved(k.Model(x, nn.Dense(3)(inner(nn.Dense(7)(x)))), 7 + 5 + 4, {OUTPUT: 3})


def test_a_model_whose_inputs_keras_reshapes_is_pinned_by_name():
    i = k.Input((6, 1))
    inner = k.Model(i, nn.Dense(4)(nn.Flatten()(i)), name="inner")
    x = k.Input((5,))
    y = nn.Dense(8)(inner(nn.Dense(6)(nn.Dense(7)(x))))
    why = "inner, a model that can't be followed, uses it"
    proved(k.Model(x, nn.Dense(3)(y)), 7 + 8, {OUTPUT: 3, why: 6})


def test_inputs_and_outputs_by_name_and_a_nested_model_with_several_of_each():
    a, b = k.Input((4,), name="a"), k.Input((5,), name="b")
    inner = k.Model({"a": a, "b": b}, {"sum": nn.Dense(6)(a) + nn.Dense(6)(b), "one": nn.Dense(3)(a)}, name="inner")
    x, z = k.Input((4,), name="x"), k.Input((5,), name="z")
    y = inner({"b": nn.Dense(5)(z), "a": x})
    outputs = {"first": nn.Dense(2)(y["sum"]), "second": y["one"]}
    proved(k.Model({"x": x, "z": z}, outputs), 5 + 6, {OUTPUT: 2 + 3})


def test_an_output_in_the_middle_pins_its_channels():
    x = k.Input((6,))
    y = nn.Dense(8)(x)
    z = nn.Dense(7)(y)
    proved(k.Model(x, [nn.Dense(3)(nn.Dense(5)(z)), z]), 8 + 5, {OUTPUT: 3 + 7})


def test_a_model_with_one_layer_has_nothing_to_drop():
    proved(k.Sequential([k.Input((6,)), nn.Dense(3)]), 0, {OUTPUT: 3}, seeds=1)


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float64"])
def test_dtype_policies_stay_with_their_layers(policy):
    x = k.Input((5, 6))
    y = nn.Dense(8, "relu", dtype=policy)(x)
    y = nn.BatchNormalization()(nn.MultiHeadAttention(2, 4, dtype=policy)(y, y))
    y = nn.GRU(7, recurrent_initializer="he_normal", dtype=policy)(nn.Conv1D(5, 3, dtype=policy)(y))
    # 16 bits are rounded at every layer, and the queries once more
    proved(k.Model(x, nn.Dense(3)(y)), 8 + 2 + 4 + 5 + 7, {OUTPUT: 3}, tolerance=3e-2 if "16" in policy else 1e-4)


def test_a_subclassed_model_is_refused_with_what_to_do_instead():
    class Own(k.Model):
        def __init__(self):
            super().__init__(name="own")
            self.inner = nn.Dense(3)

        def call(self, x):
            return self.inner(x)

    model = Own()
    model(np.ones((1, 4)))
    for refuse in (signature, channels):
        with pytest.raises(UnsupportedError, match=r"'own' is a subclassed model; give it fixed inputs: keras\.Seq"):
            refuse(model)


class Plain(k.Model):
    """A subclass that adds nothing to the functional API."""


class Sized(k.Model):
    """Made of a graph, but by a constructor of its own."""

    def __init__(self, units, **settings):
        i = k.Input((6,))
        super().__init__(i, nn.Dense(6, name="last")(nn.Dense(units, name="first")(i)), **settings)
        self.units = units

    def get_config(self):
        return {"units": self.units, "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_a_subclass_that_adds_nothing_is_cut_at_the_top_and_inside():
    i = k.Input((6,))
    proved(Plain(i, nn.Dense(3)(nn.Dense(8)(i))), 8, {OUTPUT: 3})
    x = k.Input((4,))
    proved(k.Model(x, nn.Dense(3)(Plain(i, nn.Dense(3)(nn.Dense(8)(i)))(nn.Dense(6)(x)))), 6 + 8 + 3, {OUTPUT: 3})


def test_a_model_with_a_constructor_of_its_own_stays_as_it_is():
    x = k.Input((4,))
    model = k.Model(x, nn.Dense(3)(nn.Dense(7)(Sized(8, name="sized")(nn.Dense(6)(x)))))
    proved(model, 7, {OUTPUT: 3, "sized, a custom layer, uses it": 6})
    with pytest.raises(UnsupportedError, match="'sized' is of a class with a call or a constructor of its own"):
        channels(Sized(8, name="sized"))


def test_sources_are_listed_in_order_with_what_they_make():
    x = k.Input((5, 6))
    y = nn.MultiHeadAttention(2, 4, name="attention")(x, nn.Dense(7, name="dense")(x))
    model = k.Model(
        x, nn.Conv1D(3, 1, name="conv")(nn.Concatenate()([y, nn.LSTM(5, return_sequences=True, name="lstm")(y)]))
    )
    told = [(s.layer, s.what, len(s.ids)) for s in channels(model).sources]
    assert told[0] == ("dense", "units", 7) and told[-1] == ("conv", "filters", 3)
    assert ("attention/query", "heads", 2) in told and ("attention/value", "width", 4) in told
    assert ("lstm/lstm_cell", "units", 5) in told


def test_settings_of_two_calls_agree_position_by_position():
    trace = Trace({})
    layer = nn.Reshape((2, 3), name="layer")
    one, other = trace.identities.new(3), trace.identities.new(3)
    trace.set(layer, "target_shape", (2, Size(one)))
    trace.set(layer, "target_shape", (2, Size(other)))
    assert trace.resolve().count == 3
    trace.set(layer, "target_shape", (2, 3))
    units = trace.resolve()
    assert units.pinned == dict.fromkeys(range(3), "layer is called where its sizes can't be changed")


def test_settings_of_two_calls_that_do_not_fit_are_left_alone():
    trace = Trace({})
    layer = nn.Reshape((2, 3), name="layer")
    one, other = trace.identities.new(3), trace.identities.new(2)
    trace.set(layer, "target_shape", (2, Size(one)))
    trace.set(layer, "target_shape", (Size(other), 3))
    assert len(trace.resolve().pinned) == 5
    trace.set(layer, "target_shape", (Size(trace.identities.new(4)),))
    assert len(trace.resolve().pinned) == 9


def test_a_layer_that_is_kept_once_stays_as_it_is_in_every_call():
    x = k.Input((6,))
    model = k.Model(x, nn.Dense(3)(nn.Dense(8, name="inner")(x)))
    trace, layer = Trace({}), model.get_layer("inner")
    units = trace.make(layer, 8, "units")
    trace.keep(layer, "it is odd")
    trace.weight(layer.kernel, (None, units))
    trace.set(layer, "units", Size(units))
    assert trace.resolve().pinned == dict.fromkeys(range(8), "it is odd")
