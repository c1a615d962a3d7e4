"""Whatever channels go, the smaller model gives what the whole one gives when nothing reads them."""

import re

import numpy as np
import pytest

from kcompress.graph.channels import channels
from kcompress.graph.cut import cut
from kcompress.graph.signature import signature
from kcompress.graph.view import nodes
from tests.graph.cutting import at_random, difference, unread
from tests.graph.graphs import CASES
from tests.models import batch_for, keras

k = keras()
OUTPUT = "its output is an output of the model"
TOLERANCE = 1e-5  # sums of float32 in another order


def run(model, batch):
    sign = signature(model)
    return [np.asarray(y) for y in k.tree.flatten(model(sign.pack([batch[name] for name in sign.inputs])))]


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
        dropped = at_random(found, 0.4, seed)
        smaller = cut(model, found, dropped)
        assert smaller.count_params() < model.count_params() or not dropped.any()
        assert difference(run(unread(model, found, dropped), batch), run(smaller, batch)) < TOLERANCE
        assert (signature(smaller).inputs, signature(smaller).outputs) == (sign.inputs, sign.outputs)
        assert [w.path for w in smaller.weights] == [w.path for w in model.weights]
        assert [node.name for node in nodes(smaller)] == [node.name for node in nodes(model)]
    assert any(at_random(found, 0.4, seed).any() for seed in range(3))
