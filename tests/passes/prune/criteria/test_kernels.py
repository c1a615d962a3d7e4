"""What holds for all criteria that look at kernels."""

import numpy as np
import pytest

from kcompress.errors import ModelError
from tests.passes.prune.criteria.scoring import mlp, residual_of_two, scores_of


@pytest.mark.parametrize("criterion", ["l1", "l2", "geometric_median"])
def test_a_big_layer_does_not_outvote_those_that_it_is_coupled_with(criterion):
    (small,), (big,) = (scores_of(residual_of_two(size), criterion) for size in (1.0, 1000.0))
    np.testing.assert_allclose(big, small, rtol=1e-5)  # float32 weights
    assert small.max() > 1.05


def test_a_group_of_zeros_has_zeros():
    model = mlp()
    model.get_layer("hidden").kernel.assign(np.zeros((4, 8)))
    for criterion in ("l1", "l2", "geometric_median"):
        (scores,) = scores_of(model, criterion)
        assert scores.tolist() == [0.0] * 8


def test_weights_that_are_not_finite_are_refused():
    model = mlp()
    model.get_layer("hidden").kernel.assign(np.full((4, 8), np.nan))
    with pytest.raises(ModelError, match="hidden/kernel holds weights that are not finite"):
        scores_of(model, "l2")
