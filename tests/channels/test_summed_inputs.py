import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.masks import masked
from kcompress.channels.summed_inputs import summed_inputs, units_read
from kcompress.model.gradients import gradients
from tests.models import BUILDERS, keras, seeded

k = keras()
nn = k.layers


def found(model):
    return {(place.node.name, place.argument, place.axis) for place in summed_inputs(model, channels(model))}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dense", {("head", "inputs", -1)}),
        (
            "residual",
            {
                ("separable", "inputs", -1),
                ("grouped", "inputs", -1),
                ("transposed", "inputs", -1),
                ("head", "inputs", -1),
            },
        ),
        ("tokens", {("conv", "inputs", -1), ("head", "inputs", -1)}),
        (
            "recurrent",
            {
                ("attention", "query", -1),
                ("attention", "value", -1),
                ("attention/attention_output", "inputs", -2),
                ("attention/attention_output", "inputs", -1),
                ("gru", "sequences", -1),
                ("head", "inputs", -1),
            },
        ),
        ("two_in_two_out", {(n, "inputs", -1) for n in ("inner/shared", "inner/out", "score", "kind")}),
    ],
)
def test_inputs_are_listed_that_layers_sum_over_with_a_weight(name, expected):
    assert found(BUILDERS[name]()) == expected


def test_an_axis_that_a_layer_only_passes_on_is_not_listed():
    inputs = k.Input((5, 4))
    x = nn.Permute((2, 1))(nn.Dense(6, name="first")(inputs))  # (6, 5)
    x = nn.Dense(3, name="second")(nn.Dense(5, name="along")(x))  # along the axis of length 5
    model = k.Model(inputs, nn.Dense(2, name="head")(nn.Flatten()(x)))
    assert found(model) == {("second", "inputs", -1), ("head", "inputs", -1)}


def test_a_layer_inside_a_wrapper_reads_through_the_wrapper():
    inputs = k.Input((5, 4))
    x = nn.TimeDistributed(nn.Dense(3), name="each")(nn.Dense(6, name="first")(inputs))
    model = k.Model(inputs, nn.LSTM(2, name="lstm")(x))
    assert found(model) == {("each", "inputs", -1), ("lstm", "sequences", -1)}


def test_widths_of_keys_alone_are_read_but_not_in_a_summed_input():
    inputs = k.Input((5, 4))
    x = nn.MultiHeadAttention(2, 3, value_dim=6, name="attention")(inputs, inputs)
    model = k.Model(inputs, nn.Dense(2)(x))
    known = channels(model)
    widths = {s.layer: set(known.units.of(s.ids).tolist()) for s in known.sources if s.what == "width"}
    seen = {unit for place in summed_inputs(model, known) for unit in known.units.of(place.ids).tolist()}
    assert widths["attention/query"] <= units_read(known) - seen
    assert widths["attention/value"] <= units_read(known) & seen


def test_what_a_product_of_two_tensors_sums_over_is_read_but_not_in_a_summed_input():
    inputs = k.Input((5, 4))
    x = nn.Dot(2)([nn.Dense(6, name="one")(inputs), nn.Dense(6, name="other")(inputs)])
    model = k.Model(inputs, nn.Dense(2)(x))
    known = channels(model)
    assert units_read(known) >= set(known.units.of(known.sources[0].ids).tolist())
    assert summed_inputs(model, known) == []


def slopes(model, x, rows):
    map_ = channels(model)
    (place,) = summed_inputs(model, map_)

    def summed(masks):
        with masked([place], masks) as reached:
            result = k.ops.sum(model(x))
        seen.update(reached)
        return result

    seen = set()
    _, (slope,) = gradients(summed, [np.ones((rows, len(place.ids)), np.float32)])
    return slope, seen


def test_the_gradient_of_a_mask_is_value_times_gradient_summed_over_positions():
    inputs = k.Input((7, 3))
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(nn.Dense(4, name="first")(inputs))))
    x = np.random.default_rng(0).random((5, 7, 3), np.float32)
    hidden = x @ np.asarray(model.layers[1].kernel) + np.asarray(model.layers[1].bias)
    expected = hidden.sum(1) * np.asarray(model.layers[2].kernel).sum(1)
    slope, reached = slopes(model, x, 5)
    assert reached == {0}
    np.testing.assert_allclose(slope, expected, rtol=1e-5)  # float32


def test_rows_of_a_sample_that_were_put_into_the_batch_share_its_mask():
    inputs = k.Input((7, 3), batch_size=5)
    first, head = nn.Dense(4, name="first"), nn.Dense(2, name="head")
    model = seeded(k.Model(inputs, k.ops.reshape(head(k.ops.reshape(first(inputs), (35, 4))), (5, 7, 2))))
    x = np.random.default_rng(0).random((5, 7, 3), np.float32)
    hidden = x @ np.asarray(first.kernel) + np.asarray(first.bias)
    slope, _ = slopes(model, x, 5)
    np.testing.assert_allclose(slope, hidden.sum(1) * np.asarray(head.kernel).sum(1), rtol=1e-5)  # float32


def test_an_input_whose_rows_are_no_multiple_of_the_samples_is_not_masked():
    model = BUILDERS["dense"]()
    slope, reached = slopes(model, np.ones((5, 8), np.float32), 2)
    assert reached == set()
    assert not slope.any()


def test_the_layers_are_as_before_after_masking():
    model = BUILDERS["dense"]()
    slopes(model, np.ones((5, 8), np.float32), 5)
    assert all("call" not in vars(layer) for layer in model.layers)
