import numpy as np

from kcompress.model.rebuild import copy
from kcompress.training.batchnorm import estimate, quicker
from tests.models import keras, residual, seeded

k = keras()
BATCHES = [{"image": np.random.default_rng(seed).normal(seed, 2, (8, 12, 12, 3)).astype(np.float32)} for seed in (0, 1)]


def test_statistics_are_those_of_what_comes_in_over_all_batches():
    inputs = k.Input((3,), name="x")
    model = seeded(k.Model(inputs, k.layers.BatchNormalization(name="bn")(inputs)))
    x = np.random.default_rng(0).normal(2, 3, (64, 3)).astype(np.float32)
    estimate(model, [{"x": x[:32]}, {"x": x[32:]}])
    layer = model.get_layer("bn")
    np.testing.assert_allclose(layer.moving_mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, x.var(0), rtol=1e-4)  # float32 sums


def test_nothing_else_changes():
    model = residual()
    before = copy(model)
    estimate(model, BATCHES)
    momenta = [layer.momentum for layer in model.layers if hasattr(layer, "momentum")]
    assert momenta == [layer.momentum for layer in before.layers if hasattr(layer, "momentum")]
    for old, new in zip(before.weights, model.weights, strict=True):
        moved = not np.array_equal(old, new)
        assert moved == ("moving" in new.path), new.path


def test_frozen_ones_keep_theirs():
    model = residual()
    model.get_layer("stem_bn").trainable = False
    before = np.array(model.get_layer("stem_bn").moving_mean)
    estimate(model, BATCHES)
    np.testing.assert_array_equal(model.get_layer("stem_bn").moving_mean, before)


def test_moving_averages_follow_sooner_meanwhile():
    model = residual()
    with quicker(model):
        assert model.get_layer("stem_bn").momentum == 0.9
    assert model.get_layer("stem_bn").momentum == 0.99
