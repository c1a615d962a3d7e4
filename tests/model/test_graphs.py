"""Whatever channels go, the smaller model gives what the original gives if nothing reads them."""

import inspect
import re

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from kcompress.channels.rules import LAYERS
from kcompress.model.signature import signature
from kcompress.model.view import nodes
from tests.channels.cutting import difference, some_units, zeroed
from tests.model.graphs import CASES
from tests.models import batch_for, keras
from tests.sweep import some

k = keras()
nn = k.layers
OUTPUT = "its output is an output of the model"
TOLERANCE = 1e-5  # sums of float32 in another order


@pytest.mark.parametrize("name", CASES)
def test_the_cut_model_gives_the_same_where_nothing_reads_what_went(name):
    model, free, reasons = CASES[name]()
    found = channels(model)
    assert found.units.count - len(found.units.pinned) == free
    why = {re.sub(r"^([a-z]+)_\d+\b", r"\1", why) for why in found.units.pinned.values()}  # names that Keras numbers
    assert why - {OUTPUT} == reasons
    batch = batch_for(model, count=2)
    sign = signature(model)
    seeds = some(range(3), lambda seed: seed == 0)
    for seed in seeds:
        dropped = some_units(found, seed, 0.4)
        smaller = cut(model, found, dropped)
        assert smaller.count_params() < model.count_params() or not dropped.any()
        assert difference(zeroed(model, found, dropped), smaller, list(batch.values())) < TOLERANCE
        assert (signature(smaller).inputs, signature(smaller).outputs) == (sign.inputs, sign.outputs)
        assert [w.path for w in smaller.weights] == [w.path for w in model.weights]
        assert [node.name for node in nodes(smaller)] == [node.name for node in nodes(model)]
    assert any(some_units(found, seed, 0.4).any() for seed in seeds)


def test_queries_are_scaled_for_the_width_that_is_left():
    model, _, _ = CASES["attention_to_itself"]()
    found = channels(model)
    (width,) = {id(s.ids): s.ids for s in found.sources if s.what == "width"}.values()
    dropped = np.zeros(found.units.count, bool)
    dropped[found.units.of(width[:2])] = True
    smaller = cut(model, found, dropped)
    old, new = ({n.name: n.kernels[0].values for n in nodes(m) if n.kernels} for m in (model, smaller))
    assert new["attention/query"] == pytest.approx(old["attention/query"][..., 2:] * np.sqrt(4 / 6), rel=1e-6)
    assert np.array_equal(new["attention/key"], old["attention/key"][..., 2:])


NO_RULE = {
    *("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper", "Layer", "Wrapper", "InputLayer"),
    *("Masking", "Pipeline", "GRUCell", "LSTMCell", "SimpleRNNCell"),
    *("StackedRNNCells", "Normalization", "Discretization", "CategoryEncoding", "Hashing", "HashedCrossing"),
    *("IntegerLookup", "StringLookup", "TextVectorization", "MelSpectrogram", "STFTSpectrogram"),
    *("MaxNumBoundingBoxes", "RandAugment", "AugMix", "CutMix", "MixUp", "AutoContrast", "Equalization"),
    *("Solarization", "ContrastLimitedAdaptiveHistogramEqualization"),
}
"""Layers that pin what they get: foreign code, cells that a layer holds, and what stands before the first channels."""


def test_every_layer_of_keras_has_a_rule_or_is_known_to_have_none():
    classes = {item.__name__ for _, item in inspect.getmembers(nn, inspect.isclass) if issubclass(item, nn.Layer)}
    without = {name for name in classes - LAYERS.keys() if not name.startswith("Random")}
    assert without == NO_RULE
    assert not LAYERS.keys() & NO_RULE
