"""Dead channels in all kinds of graphs, and of weights that lie on grids."""

import numpy as np

from kcompress.channels.channels import channels
from kcompress.channels.constants import constants
from kcompress.passes.base import Context
from kcompress.passes.prune._constants import readings
from kcompress.passes.quantize.float16 import QuantizeFloat16
from kcompress.passes.quantize.weights import QuantizeWeights
from kcompress.quantization.plan import FLOAT16, QuantPlan
from tests.models import keras, seeded
from tests.passes.prune.planted import checked, constant, plant, reasons, told

k = keras()
nn = k.layers


def test_a_layer_that_is_called_on_other_constants_keeps_what_differs():
    inputs = k.Input((8,))
    shared = nn.Dense(3, name="shared")
    a, b = nn.Dense(4, name="a"), nn.Dense(4, name="b")
    model = seeded(k.Model(inputs, [shared(a(inputs)), shared(b(inputs))]))
    plant(model, a__kernel=(np.s_[:, :2], 0), b__kernel=(np.s_[:, :2], 0), a__bias=(1, 0.25), b__bias=(1, 0.25))
    assert told(checked(model)) == {
        "a": "units 4 to 3",
        "b": "units 4 to 3",
        "shared": "inputs 4 to 3, 1 of them constant",
    }


def test_what_a_layer_reads_is_not_known_if_it_is_inside_a_wrapper_too():
    inputs = k.Input((6, 5))
    shared = nn.Dense(3, name="shared")
    x, y = nn.Dense(4, name="a")(inputs), nn.Dense(4, name="b")(inputs)
    found = channels(k.Model(inputs, [shared(x), nn.TimeDistributed(shared, name="each")(y)]))
    assert {reading.name for reading in readings(found, constants(found), QuantPlan())} == {"a", "b"}


def test_channels_that_are_multiplied_with_each_other_stay():
    inputs = k.Input((6, 3))
    query, value = nn.Dense(4, name="query")(inputs), nn.Dense(5, name="value")(inputs)
    x = nn.Attention()([query, value, nn.Dense(4, name="key")(inputs)])
    model = plant(seeded(k.Model(inputs, nn.Dense(2, name="head")(x))), head__kernel=(3, 0))
    result = checked(model)
    assert told(result) == {"value": "units 5 to 4", "head": "inputs 5 to 4"}
    why = "it is multiplied with another one, for which there is no weight to tell whether it matters"
    assert reasons(result)["query"] == reasons(result)["key"] == why


def test_nested_models_and_several_outputs():
    inner = k.Sequential([k.Input((6, 6, 4)), nn.Conv2D(5, 3, name="conv"), nn.GlobalMaxPooling2D()], name="inner")
    inputs = k.Input((8, 8, 3))
    x = nn.Conv2D(4, 3, activation="relu", name="stem")(inputs)
    y = inner(x)
    outputs = {"a": nn.Dense(2, name="a")(y), "b": nn.Dense(3, name="b")(y), "c": nn.Conv2D(1, 1, name="c")(x)}
    model = seeded(k.Model(inputs, outputs))
    plant(model, stem__kernel=(np.s_[..., 1], 0), inner__conv__kernel=(np.s_[..., 2], 0))
    assert told(checked(model)) == {
        "stem": "filters 4 to 3",
        "inner/conv": "filters 5 to 4, inputs 4 to 3, 1 of them constant",
        "a": "inputs 5 to 4, 1 of them constant",
        "b": "inputs 5 to 4, 1 of them constant",
        "c": "inputs 4 to 3, 1 of them constant",
    }


def test_separable_and_grouped_convolutions_and_what_is_concatenated():
    inputs = k.Input((8, 8, 3))
    x = nn.Concatenate()([nn.Conv2D(4, 3, name="a")(inputs), nn.Conv2D(4, 3, activation="relu", name="b")(inputs)])
    x = nn.SeparableConv2D(6, 3, depth_multiplier=2, name="separable")(x)
    x = nn.Conv2D(8, 1, groups=2, name="grouped")(x)
    model = seeded(k.Model(inputs, nn.Conv2D(2, 1, name="head")(x)))
    plant(model, a__kernel=(np.s_[..., 1], 0), separable__depthwise_kernel=(np.s_[:, :, 6], 0))
    plant(model, head__kernel=(np.s_[..., 4:, :], 0))
    assert told(checked(model)) == {
        "a": "filters 4 to 3",
        "b": "filters 4 to 3",
        "separable": "filters 6 to 3, inputs 8 to 6, 1 of them constant",
        "grouped": "filters 8 to 4",
        "head": "inputs 8 to 4",
    }


def test_operations_in_the_graph():
    inputs = k.Input((8, 8, 3))
    x = nn.Conv2D(6, 3, name="conv")(inputs)
    left, right = k.ops.split(k.ops.relu(x) * 2 + 1, 2, axis=-1)
    x = k.ops.mean(k.ops.maximum(left, right), axis=(1, 2))
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(k.ops.concatenate([x, k.ops.square(x)], axis=-1))))
    plant(model, conv__kernel=(np.s_[..., [1, 4]], 0))
    assert told(checked(model)) == {"conv": "filters 6 to 4", "head": "inputs 6 to 4, 2 of them constant"}


def test_a_bias_on_a_grid_takes_no_constant():
    model, plan = constant(), QuantPlan({"reader/bias": FLOAT16})
    plant(model, reader__bias=(..., 0.5))
    result = checked(model, plan)
    assert result.changes == ()
    why = "1 of its channels is constant, but the bias of reader is on a quantization grid already"
    assert reasons(result)["conv"] == why
    assert told(checked(plant(model, conv__bias=(1, 0)), plan))["conv"] == "filters 4 to 3"


def test_whole_numbers_keep_their_scales():
    done = QuantizeWeights(bits=4).apply(constant(), Context())
    result = checked(done.model, QuantPlan(done.formats))
    assert told(result)["reader"] == "inputs 4 to 3, 1 of them constant"
    assert len(result.formats["conv/kernel"].scale) == 3
    assert set(result.formats) == {"conv/kernel"}  # checked by the base class to hold the kernel


def attention():
    inputs = k.Input((6, 8))
    model = seeded(k.Model(inputs, nn.MultiHeadAttention(2, 4, name="mha")(inputs, inputs)))
    plant(model, mha__key__kernel=(np.s_[:, :, 2], 0), mha__key__bias=(np.s_[:, 2], 0))
    return plant(model, mha__attention_output__kernel=(np.s_[:, 2], 0))


def test_queries_that_get_narrower_stay_on_a_grid_of_whole_numbers():
    done = QuantizeWeights(bits=8).apply(attention(), Context())
    plan = QuantPlan(done.formats)
    assert told(checked(done.model, plan))["mha/query"] == "width 4 to 3"


def test_queries_on_a_float16_grid_stay_as_wide():
    done = QuantizeFloat16().apply(attention(), Context())
    result = checked(done.model, QuantPlan(done.formats))
    assert reasons(result)["mha/query"] == "mha/query/kernel, on a float16 grid, would have to be rescaled"
