"""Whatever channels go, the smaller model gives what the whole one gives when nothing reads them."""

import re

import pytest

from kcompress.graph.channels import channels
from kcompress.graph.cut import cut
from kcompress.graph.signature import signature
from kcompress.graph.view import nodes
from tests.graph.cutting import difference, some_units, zeroed
from tests.graph.graphs import CASES
from tests.models import batch_for, keras

k = keras()
OUTPUT = "its output is an output of the model"
TOLERANCE = 1e-5  # sums of float32 in another order


@pytest.mark.parametrize("name", CASES)
def test_the_cut_model_gives_the_same_where_nothing_reads_what_went(name):
    model, free, reasons = CASES[name]()
    found = channels(model)
    assert found.units.count - len(found.units.pinned) == free
    why = {re.sub(r"^([a-z]+)_\d+ ", r"\1 ", why) for why in found.units.pinned.values()}  # names that Keras numbers
    assert why - {OUTPUT} == reasons
    batch = batch_for(model, count=2)
    sign = signature(model)
    for seed in range(3):
        dropped = some_units(found, seed, 0.4)
        smaller = cut(model, found, dropped)
        assert smaller.count_params() < model.count_params() or not dropped.any()
        assert difference(zeroed(model, found, dropped), smaller, list(batch.values())) < TOLERANCE
        assert (signature(smaller).inputs, signature(smaller).outputs) == (sign.inputs, sign.outputs)
        assert [w.path for w in smaller.weights] == [w.path for w in model.weights]
        assert [node.name for node in nodes(smaller)] == [node.name for node in nodes(model)]
    assert any(some_units(found, seed, 0.4).any() for seed in range(3))
