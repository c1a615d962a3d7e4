"""What survives when a model is cut, and that every layer type has a rule or is known to have none."""

import inspect

import numpy as np
import pytest

from kcompress.graph.channels import Size, channels
from kcompress.graph.cut import cut
from kcompress.graph.rebuild import fingerprint
from kcompress.graph.rules import LAYERS
from kcompress.graph.view import nodes
from tests.graph.cutting import some_units
from tests.graph.graphs import CASES
from tests.models import keras, seeded

k = keras()
nn = k.layers
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


def network(policy="float32"):
    inputs = k.Input((8, 8, 3), name="image")
    x = nn.Conv2D(6, 3, kernel_regularizer="l2", activity_regularizer="l1", dtype=policy, name="first")(inputs)
    x = nn.BatchNormalization(momentum=0.7, dtype=policy, name="bn")(x)
    x = nn.Conv2D(8, 3, kernel_constraint="max_norm", trainable=False, dtype=policy, name="frozen")(x)
    x = nn.GlobalAveragePooling2D(dtype=policy)(x)
    return seeded(k.Model(inputs, nn.Dense(2, dtype="float32", name="head")(x), name="network"))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_settings_survive(policy):
    model = network(policy)
    model.compile("adam", "mse", metrics=["mae"], loss_weights=[0.5])
    found = channels(model)
    smaller = cut(model, found, some_units(found, 1, 0.5))
    assert smaller.count_params() < model.count_params()
    for old, new in zip(model.layers, smaller.layers, strict=True):
        before, after = old.get_config(), new.get_config()
        different = {key for key in before if before[key] != after[key]}
        assert different <= {"filters"}, old.name
        assert (new.trainable, new.dtype_policy) == (old.trainable, old.dtype_policy)
    assert [w.path for w in smaller.trainable_weights] == [w.path for w in model.trainable_weights]
    assert smaller.get_compile_config() == model.get_compile_config()
    assert smaller.name == model.name


def test_the_given_model_is_left_alone_and_nothing_is_shared():
    model = network()
    before = fingerprint(model)
    found = channels(model)
    smaller = cut(model, found, some_units(found, 1, 0.5))
    assert fingerprint(model) == before
    assert not {id(v) for v in smaller.weights} & {id(v) for v in model.weights}


@pytest.mark.parametrize("name", ["residual_sum", "operations", "nested_models", "recurrent", "attention_to_itself"])
def test_a_model_of_which_nothing_goes_is_a_copy(name):
    model, _, _ = CASES[name]()
    found = channels(model)
    same = cut(model, found, np.zeros(found.units.count, bool))
    assert fingerprint(same) == fingerprint(model)


@pytest.mark.parametrize("name", ["residual_sum", "operations", "nested_models", "recurrent", "attention_to_itself"])
def test_a_cut_model_is_saved_and_read_as_it_is(name, tmp_path):
    model, _, _ = CASES[name]()
    found = channels(model)
    smaller = cut(model, found, some_units(found, 2, 0.5))
    smaller.save(tmp_path / "m.keras")
    again = k.saving.load_model(tmp_path / "m.keras")
    for old, new in zip(smaller.weights, again.weights, strict=True):
        assert np.array_equal(np.asarray(old), np.asarray(new))


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


def test_a_setting_is_filled_with_what_stays():
    model, _, _ = CASES["operations"]()
    found = channels(model)
    ids = found.sources[0].ids
    dropped = np.zeros(found.units.count, bool)
    dropped[found.units.of(ids[:1])] = True
    left = found.kept(ids, dropped)
    assert left == len(ids) - 2  # it is multiplied with one of the other half
    value = found.fill((None, [Size(ids), 3], slice(Size(ids[:6]), None, 2)), dropped)
    assert value == (None, [left, 3], slice(5, None, 2))
