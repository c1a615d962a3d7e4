"""The l2 norm of the kernels that make a unit."""

import numpy as np

from tests.models import keras, seeded
from tests.passes.prune.criteria.scoring import kernel, mlp, relative, residual_of_two, scores_of

k = keras()
nn = k.layers


def test_l2_is_the_norm_of_the_weights_that_make_the_unit_over_the_mean():
    model = mlp()
    (scores,) = scores_of(model, "l2")
    np.testing.assert_allclose(scores, relative(np.linalg.norm(kernel(model, "hidden"), 2, axis=0)), rtol=1e-6)


def test_norms_of_coupled_layers_are_averaged():
    model = residual_of_two()
    (scores,) = scores_of(model, "l2")
    one, other = (relative(np.linalg.norm(kernel(model, name), axis=0)) for name in ("one", "other"))
    np.testing.assert_allclose(scores, (one + other) / 2, rtol=1e-6)


def test_all_gates_of_a_recurrent_unit_count_and_its_own_state_too():
    inputs = k.Input((5, 3), name="x")
    model = seeded(k.Model(inputs, nn.Dense(2)(nn.LSTM(4, name="lstm")(inputs))))
    cell = model.get_layer("lstm").cell
    parts = [np.asarray(w).reshape(-1, 4, 4) for w in (cell.kernel, cell.recurrent_kernel)]  # inputs, gates, units
    (scores,) = scores_of(model, "l2")
    expected = np.mean([relative(np.sqrt((part**2).sum((0, 1)))) for part in parts], axis=0)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
