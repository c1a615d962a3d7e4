"""Scores by chance."""

from kcompress.passes.base import Context
from tests.passes.prune.criteria.scoring import mlp, scores_of


def test_random_depends_on_the_seed_alone():
    model = mlp()
    first, again, other = (scores_of(model, "random", Context(seed=seed))[0] for seed in (3, 3, 4))
    assert first.tolist() == again.tolist() != other.tolist()
