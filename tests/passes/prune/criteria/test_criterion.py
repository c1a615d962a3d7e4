"""What holds for every criterion that is found.

Covers: passes/prune/criteria/_outputs.py, passes/prune/criteria/_tally.py.
"""

from pathlib import Path

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.fields import allowed
from kcompress.model.rebuild import fingerprint
from kcompress.passes.base import Context
from kcompress.passes.prune import criteria as criterion_package
from kcompress.passes.prune.criteria import criteria
from kcompress.passes.prune.structured import PruneStructured
from tests import other_process
from tests.models import batch_for, keras, seeded
from tests.passes.prune.criteria.scoring import BY_SAMPLES, X, context, labels_for, mlp, scores_of
from tests.passes.prune.criteria.test_samples import (
    test_the_state_that_a_recurrent_layer_keeps_stays_and_does_not_count as stays_and_does_not_count,
)
from tests.sweep import ALL

FOLDER = Path(criterion_package.__file__).parent
k = keras()
nn = k.layers


def test_every_file_is_a_criterion_that_the_field_takes_and_tells_of():
    files = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}
    field = PruneStructured.model_fields["criterion"]
    assert set(criteria()) == {each.title() for each in criteria().values()} == files
    assert allowed(field) == "one of l1, l2, batchnorm, activation, zeros, taylor, geometric_median, random"
    assert all(each.looks_at in field.description.replace("\n", " ") for each in criteria().values())


def test_units_in_no_group_have_no_score():
    model = mlp()
    known = channels(model)
    scores = criteria()["l2"]().scores(model, known, [np.arange(3), np.arange(5, 8)], Context(), 1)[:8]
    assert np.isnan(scores).tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert [scores[:3].mean(), scores[5:].mean()] == pytest.approx([1, 1])


@pytest.mark.parametrize("criterion", criteria())
def test_the_model_is_left_alone(criterion):
    inputs = k.Input((4,), name="x")
    x = nn.BatchNormalization(name="bn")(nn.Dense(8, "relu")(inputs))
    model = seeded(k.Model(inputs, nn.Dense(3)(nn.Dropout(0.5, name="dropout")(x))))
    before, ctx = fingerprint(model), context(X, np.arange(20) % 3)
    first, again = (scores_of(model, criterion, ctx)[0] for _ in range(2))
    assert first.tolist() == again.tolist()
    assert fingerprint(model) == before


def summary():
    """Scores of a model with a convolution, attention and a wrapper, by the criteria that look at samples."""
    inputs = k.Input((6, 4), name="x")
    x = nn.BatchNormalization(name="bn")(nn.Conv1D(5, 3, activation="relu", name="conv")(inputs))
    x = nn.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = nn.GlobalAveragePooling1D()(nn.TimeDistributed(nn.Dense(3, name="step"))(x))
    model = seeded(k.Model(inputs, nn.Dense(3, "softmax", name="head")(x)))
    x = batch_for(model, 9)
    ctx = context(x, next(iter(labels_for(model, x).values())))
    return [[scores.tolist() for scores in scores_of(model, criterion, ctx)] for criterion in BY_SAMPLES]


@pytest.mark.slow
def test_jax_gives_the_same_scores():
    pytest.importorskip("jax")
    if ALL:
        other_process.call("jax", stays_and_does_not_count, "taylor")
    for theirs, ours in zip(other_process.call("jax", summary), summary(), strict=True):
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)  # float32 activations
