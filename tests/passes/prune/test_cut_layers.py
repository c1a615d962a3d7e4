"""What is told of layers that lose channels, and the grids of what is left of their weights."""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from kcompress.model.view import nodes
from kcompress.passes.base import Context
from kcompress.passes.prune._changes import describe_cut
from kcompress.passes.prune._formats import sliced_formats
from kcompress.passes.quantize.weights import QuantizeWeights
from kcompress.quantization.plan import FLOAT16, QuantPlan, WeightFormat
from tests.models import keras, recurrent, residual, seeded
from tests.passes.models import everything

k = keras()
nn = k.layers


def first_of(found, layer, what):
    """Drops the first channel of a kind that a layer makes; of what it is made of, the first unit."""
    (ids,) = (source.ids for source in found.sources if (source.layer, source.what) == (layer, what))
    dropped = np.zeros(found.units.count, bool)
    dropped[found.units.of(ids[:1])[:1]] = True
    return dropped


def told(model, layer, what):
    found = channels(model)
    dropped = first_of(found, layer, what)
    return {node.name: text for node in nodes(model) if (text := describe_cut(found, node, dropped))}


def test_makers_readers_and_depthwise_layers_say_what_they_lose():
    assert told(residual(), "separable", "filters") == {
        "stem": "filters 8 to 4",  # one of the two groups that `grouped` has
        "separable": "filters 8 to 4, inputs 8 to 4",
        "depthwise": "channels 8 to 4",
        "grouped": "filters 8 to 4",  # each group has as many inputs as before
        "transposed": "inputs 8 to 4",
    }


def test_heads_and_units_are_counted_by_the_layers_that_share_them():
    both = told(recurrent(), "both/forward_lstm/lstm_cell", "units")
    assert both["both/forward_lstm/lstm_cell"] == both["both/backward_lstm/lstm_cell"] == "units 4 to 3"
    assert told(recurrent(), "attention/query", "heads") == {
        "attention/query": "heads 2 to 1",
        "attention/key": "heads 2 to 1",
        "attention/value": "heads 2 to 1",
        "attention/attention_output": "inputs 6 to 3",
    }


def test_nothing_is_told_where_nothing_goes():
    model = residual()
    found = channels(model)
    assert not any(describe_cut(found, node, np.zeros(found.units.count, bool)) for node in nodes(model))


@pytest.mark.parametrize("fields", [{"bits": 8}, {"bits": 4}])
def test_what_is_left_of_quantized_weights_lies_on_what_is_left_of_their_grids(fields):
    done = QuantizeWeights(**fields).apply(everything(), Context())
    plan = QuantPlan(done.formats)
    found = channels(done.model)
    dropped = np.random.default_rng(0).random(found.units.count) < 0.25
    for unit in found.units.pinned:
        dropped[unit] = False
    new = cut(done.model, found, dropped)
    formats = sliced_formats(done.model, found, dropped, plan)
    assert formats
    for node in nodes(new):
        for weight in node.kernels:
            assert plan.updated(formats).weights[node.qualified(weight)].holds(weight.values), node.qualified(weight)


def test_grids_of_weights_that_are_not_cut_are_left_out():
    model = seeded(k.Sequential([k.Input((4,)), nn.Dense(6, name="a"), nn.Dense(3, name="b"), nn.Dense(2, name="c")]))
    each = WeightFormat("int", 8, -127, 127, (1,), tuple(np.arange(1.0, 7.0).tolist()))
    whole = WeightFormat("int", 8, -127, 127, (), (0.5,))
    plan = QuantPlan({"a/kernel": each, "b/kernel": whole, "c/kernel": FLOAT16})
    found = channels(model)
    formats = sliced_formats(model, found, first_of(found, "a", "units"), plan)
    assert {name: weight_format.scale for name, weight_format in formats.items()} == {
        "a/kernel": (2.0, 3.0, 4.0, 5.0, 6.0)
    }
