"""The distances between the filters of units."""

import tracemalloc

import numpy as np

from kcompress.channels.channels import channels
from kcompress.passes.base import Context
from kcompress.passes.prune.criteria import criteria
from tests.models import keras, seeded
from tests.passes.prune.criteria.scoring import kernel, ranked, relative, scores_of

k = keras()
nn = k.layers


def filters_of(values):
    """Each row's sum of distances to the others, the plain way."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    return np.array([[np.linalg.norm(a - b) for a in flat] for b in flat]).sum(1)


def test_geometric_median_is_the_sum_of_distances_to_the_other_filters():
    inputs = k.Input((6, 6, 2), name="x")
    model = seeded(k.Model(inputs, nn.Conv2D(2, 1)(nn.Conv2D(7, 3, name="conv")(inputs))))
    (scores,) = scores_of(model, "geometric_median")
    np.testing.assert_allclose(scores, relative(filters_of(np.moveaxis(kernel(model, "conv"), -1, 0))), rtol=1e-6)


def test_geometric_median_compares_each_gate_with_the_same_gate():
    inputs = k.Input((5, 3), name="x")
    model = seeded(k.Model(inputs, nn.Dense(2)(nn.GRU(4, name="gru")(inputs))))
    cell = model.get_layer("gru").cell
    parts = [np.asarray(w).reshape(-1, 3, 4).transpose(2, 0, 1) for w in (cell.kernel, cell.recurrent_kernel)]
    (scores,) = scores_of(model, "geometric_median")
    np.testing.assert_allclose(scores, np.mean([relative(filters_of(part)) for part in parts], axis=0), rtol=1e-6)


def test_geometric_median_takes_memory_for_pairs_but_not_for_their_differences():
    inputs = k.Input((256,), name="x")
    model = k.Model(inputs, nn.Dense(2)(nn.Dense(512)(inputs)))
    known = channels(model)
    tracemalloc.start()
    criteria()["geometric_median"]().scores(model, known, ranked(known), Context(), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6  # 512 × 512 products take 2 MB, all differences 537 MB
