"""A model without some of its channels: what of it survives, and that the given one is left alone."""

from pathlib import Path

import numpy as np

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut, factor, sliced
from kcompress.model.cost import macs
from kcompress.model.rebuild import fingerprint
from tests.channels.cutting import difference, samples, some_units, zeroed
from tests.models import keras, residual, seeded

k = keras()
nn = k.layers


def compiled():
    model = residual()
    model.compile(k.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


def test_the_given_model_is_left_alone_and_shares_nothing_with_the_cut_one():
    model = compiled()
    before, found = fingerprint(model), channels(model)
    smaller = cut(model, found, some_units(found, 0))
    for variable in smaller.weights:
        variable.assign(variable + 1)
    assert fingerprint(model) == before
    assert not {id(layer) for layer in smaller._flatten_layers()} & {id(layer) for layer in model._flatten_layers()}


def test_dropping_nothing_gives_a_copy():
    model = compiled()
    found = channels(model)
    assert fingerprint(cut(model, found, np.zeros(found.units.count, bool))) == fingerprint(model)


def test_the_compile_state_survives_and_the_cut_model_trains():
    model = compiled()
    found = channels(model)
    smaller = cut(model, found, some_units(found, 0))
    assert smaller.loss == "mse" and smaller.optimizer.get_config() == model.optimizer.get_config()
    smaller.fit(np.ones((4, 12, 12, 3)), np.ones((4, 3)), verbose=0)
    assert set(smaller.evaluate(np.ones((4, 12, 12, 3)), np.ones((4, 3)), verbose=0, return_dict=True)) == {
        "loss",
        "mae",
    }


def test_regularizers_and_constraints_survive():
    settings = {"kernel_regularizer": k.regularizers.L2(0.1), "bias_constraint": k.constraints.NonNeg()}
    model = seeded(k.Sequential([k.Input((6,)), nn.Dense(8, activity_regularizer="l1", **settings), nn.Dense(3)]))
    found = channels(model)
    layer = cut(model, found, some_units(found, 0)).layers[0]
    assert isinstance(layer.kernel_regularizer, k.regularizers.L2) and layer.kernel_regularizer.l2 == np.float32(0.1)
    assert isinstance(layer.bias_constraint, k.constraints.NonNeg)
    assert isinstance(layer.activity_regularizer, k.regularizers.L1)


def test_a_cut_model_opens_from_its_file(tmp_path: Path):
    i = k.Input((6, 6, 3))
    y = nn.Conv2D(8, 3)(i)
    a, b = k.ops.split(y, 2, axis=-1)
    inner = k.Sequential([k.Input((4, 4, 4)), nn.Conv2D(5, 3), nn.GroupNormalization(5)], name="inner")
    y = inner(a * b + y[..., 2:6])
    y = nn.Bidirectional(nn.GRU(4))(nn.Reshape((4, 5))(y))
    model = seeded(k.Model(i, nn.Dense(3)(y)))
    found = channels(model)
    smaller = cut(model, found, some_units(found, 1))
    assert smaller.count_params() < model.count_params()
    smaller.save(tmp_path / "cut.keras")
    assert difference(smaller, k.saving.load_model(tmp_path / "cut.keras")) == 0


def test_a_cut_model_can_be_cut_again():
    model = residual()
    first = channels(model)
    once = cut(model, first, some_units(first, 0))
    second = channels(once)
    dropped = some_units(second, 1)
    twice = cut(once, second, dropped)
    assert twice.count_params() < once.count_params() < model.count_params()
    assert difference(zeroed(once, second, dropped), twice, samples(once)) < 1e-4


def test_multiply_adds_are_those_of_a_model_that_was_built_so_small():
    def build(width, hidden):
        layers = nn.Conv2D(width, 3), nn.BatchNormalization(), nn.Flatten(), nn.Dense(hidden), nn.Dense(3)
        return k.Sequential([k.Input((8, 8, 3)), *layers])

    model = build(6, 10)
    found = channels(model)
    dropped = np.zeros(found.units.count, bool)
    dropped[found.units.of(found.sources[0].ids)[:2]] = True
    dropped[found.units.of(found.sources[1].ids)[3:]] = True
    smaller = cut(model, found, dropped)
    assert macs(smaller) == macs(build(4, 3)) == 36 * 27 * 4 + 36 * 4 * 3 + 3 * 3
    assert smaller.count_params() == build(4, 3).count_params()


def test_a_setting_is_filled_with_what_stays():
    model = k.Sequential([k.Input((6,)), nn.Dense(8), nn.Dense(3)])
    found = channels(model)
    first, last = (found.fields[id(layer)]["units"] for layer in model.layers)
    dropped = np.zeros(found.units.count, bool)
    dropped[found.units.of(first.ids)[:1]] = True
    assert found.fill((2, [first, last], slice(first, None)), dropped) == (2, [7, 3], slice(7, None, None))


def test_an_array_of_a_weight_s_shape_is_sliced_as_the_weight_is():
    model = k.Sequential([k.Input((6,)), nn.Dense(4), nn.Dense(3)])
    found = channels(model)
    dropped = np.arange(found.units.count) == 1
    kernel = found.slices[id(model.layers[1].kernel)]
    values = np.arange(12).reshape(4, 3)
    np.testing.assert_array_equal(sliced(found, kernel, values, dropped), values[[0, 2, 3]])
    assert factor(found, kernel, dropped) == 1.0
