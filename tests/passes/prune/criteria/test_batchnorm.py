"""The scale of a unit in batch normalization."""

import numpy as np

from tests.models import keras, seeded
from tests.passes.prune.criteria.scoring import scores_of

k = keras()
nn = k.layers


def test_batchnorm_is_the_magnitude_of_the_scales():
    inputs = k.Input((6, 6, 2), name="x")
    x = nn.BatchNormalization(name="first")(nn.Conv2D(5, 1)(inputs))
    x = nn.BatchNormalization(name="second", scale=False)(nn.Conv2D(4, 1)(x))
    model = seeded(k.Model(inputs, nn.Conv2D(2, 1)(x)))
    model.get_layer("first").gamma.assign([0.5, -2.0, 0.0, 1.0, -1.5])
    scaled, unscaled = scores_of(model, "batchnorm")
    assert scaled.tolist() == [0.5, 2.0, 0.0, 1.0, 1.5]
    assert np.isnan(unscaled).all()
