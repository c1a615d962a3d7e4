"""The l1 norm of the kernels that make a unit."""

import numpy as np

from tests.models import keras, seeded
from tests.passes.prune.criteria.scoring import kernel, mlp, relative, scores_of

k = keras()
nn = k.layers


def test_l1_is_the_norm_of_the_weights_that_make_the_unit_over_the_mean():
    model = mlp()
    (scores,) = scores_of(model, "l1")
    np.testing.assert_allclose(scores, relative(np.linalg.norm(kernel(model, "hidden"), 1, axis=0)), rtol=1e-6)


def test_a_depthwise_kernel_counts_with_all_its_multipliers():
    inputs = k.Input((6, 6, 2), name="x")
    x = nn.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(nn.Conv2D(5, 1, name="conv")(inputs))
    model = seeded(k.Model(inputs, nn.Conv2D(2, 1)(x)))
    made = [np.abs(kernel(model, "conv")).sum((0, 1, 2)), np.abs(kernel(model, "depthwise")).sum((0, 1, 3))]
    (scores,) = scores_of(model, "l1")
    np.testing.assert_allclose(scores, np.mean([relative(part) for part in made], axis=0), rtol=1e-6)
