"""Structured pruning in several stages."""

import pytest

from kcompress.passes.prune.structured import PruneStructured
from tests.passes.prune.chains import apply, chain, counted_macs, filters


def test_stages_end_where_one_stage_does_and_rank_anew():
    model = chain(24, 48)
    result = apply(model, macs=0.5, steps=3)
    (goal,) = result.goals
    assert 0.48 <= goal.reached <= 0.5
    assert goal.reached == pytest.approx(counted_macs(result.model) / counted_macs(model))
    assert result.changes[0].detail.count(", then ") == 2
    stages = PruneStructured(ratio=0.488, steps=3, round_to=2).stages()
    assert [(stage.steps, stage.round_to) for stage in stages] == [(1, 2)] * 3
    assert all(stage.ratio == pytest.approx(0.2) for stage in stages)


def test_stages_take_no_more_than_a_rule_says():
    result = apply(chain(64, 64), ratio=0.75, steps=2, rules=[{"layers": "conv2", "ratio": 0.5}])
    assert filters(result.model) == {"conv1": 16, "conv2": 32}


def test_stages_may_run_out_of_channels():
    result = apply(chain(4, 4), ratio=0.99, steps=3)
    assert filters(result.model) == {"conv1": 1, "conv2": 1}
    model = chain(4, 4)
    result = apply(model, macs=0.001, steps=3)
    (goal,) = result.goals
    assert filters(result.model) == {"conv1": 1, "conv2": 1}
    assert goal.reached == pytest.approx(counted_macs(result.model) / counted_macs(model))
    assert goal.why == "conv1, conv2 at the least number of channels"
