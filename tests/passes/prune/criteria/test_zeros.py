"""The share of what is read of a unit that is not zero."""

import numpy as np

from tests.passes.prune.criteria.scoring import X, context, hidden, mlp, relative, scores_of


def test_zeros_is_the_share_of_what_is_read_that_is_not_zero():
    model = mlp()
    (scores,) = scores_of(model, "zeros", context(X))
    np.testing.assert_allclose(scores, relative((hidden(model, X) > 0).mean(0)), rtol=1e-9)
