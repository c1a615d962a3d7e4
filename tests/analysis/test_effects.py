"""What follows from effects: groups of layers, and bits for each layer."""

import itertools

import numpy as np
import pytest

from kcompress.analysis import effects as module
from kcompress.analysis.effects import Effect, Sensitivity, cost
from kcompress.analysis.probe import Reference
from kcompress.errors import MissingExtraError, UsageError
from kcompress.model.view import nodes
from tests.models import residual

BITS = ("quantize.weights", "bits")
LEVELS = (8, 4, 2)


def effect(layers, value, distortion, cut=False, field=BITS):
    return Effect(*field, layers if isinstance(layers, tuple) else (layers,), value, distortion, None, 1.0, cut)


def profile(layers, *distortions, field=BITS):
    return [effect(layers, value, d, field=field) for value, d in zip(LEVELS, distortions, strict=True)]


def sensitivity(*effects, skipped=None, weights=None):
    return Sensitivity(tuple(effects), {":".join(BITS): skipped or {}}, Reference(10, None, None), weights or {})


def test_groups_hold_coupled_layers_together_and_the_most_sensitive_come_first():
    found = sensitivity(
        *profile("mild", 1e-6, 1e-5, 1e-4), *profile(("a", "b"), 1e-2, 1e-1, 1), *profile("c", 2e-2, 1e-1, 1)
    )
    assert found.clusters(*BITS, 2) == [("a", "b", "c"), ("mild",)]
    assert found.clusters(*BITS, 9) == [("c",), ("a", "b"), ("mild",)]


def test_a_layer_in_several_sets_goes_with_the_most_sensitive():
    found = sensitivity(*profile(("a", "b"), 1e-6, 1e-5, 1e-4), *profile(("b", "c"), 1e-2, 1e-1, 1))
    assert found.clusters(*BITS, 2) == [("b", "c"), ("a",)]


def test_layers_without_a_figure_are_in_the_first_group_and_names_that_fit_no_layer_in_none():
    found = sensitivity(
        *profile("a", 0, 0, 0), *profile("b", 1, 1, 1), skipped={"odd": "why", "pattern*": ""}, weights={"odd": 3}
    )
    assert found.clusters(*BITS, 2) == [("b", "odd"), ("a",)]


def test_a_level_that_was_not_run_counts_as_nothing_left():
    """A layer that is bad from the mildest level on is more sensitive than one that is bad later."""
    early = [effect("early", 8, 0.3), effect("early", 4, 0.3, cut=True), effect("early", 2, 0.3, cut=True)]
    found = sensitivity(*profile("late", 0.2, 0.4, 0.6), *early)
    assert found.clusters(*BITS, 2) == [("early",), ("late",)]


def test_fields_and_numbers_of_groups_that_are_none_are_refused():
    found = sensitivity(*profile("a", 0, 0, 0))
    with pytest.raises(
        UsageError, match=r"prune\.magnitude:sparsity: no effects were measured; .*quantize\.weights:bits"
    ):
        found.clusters("prune.magnitude", "sparsity", 2)
    with pytest.raises(UsageError, match="groups=0 is not at least 1"):
        found.clusters(*BITS, 0)


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(module, "installed", lambda name: name != "scipy")
    with pytest.raises(MissingExtraError, match="grouping layers needs the 'search' extra"):
        sensitivity(*profile("a", 0, 0, 0)).clusters(*BITS, 1)
    with pytest.raises(MissingExtraError, match="allocating bits to layers needs the 'search' extra"):
        sensitivity(*profile("a", 0, 0, 0)).allocation(residual(), 1e6)


def test_costs_between_levels_are_read_off_and_below_them_grow_fourfold_per_bit():
    known = [effect("a", 8, 1e-6), effect("a", 4, 1e-2), effect("a", 3, 1e-2, cut=True)]
    np.testing.assert_allclose([cost(known, bits) for bits in (8, 6, 4, 3, 2)], [1e-6, 1e-4, 1e-2, 4e-2, 16e-2])


def bytes_of(model, bits):
    """All weights but kernels as float32, kernels in the bits given."""
    return sum(
        w.values.size * (bits[node.name] / 8 if w.role == "kernel" else 4)
        for node in nodes(model)
        for w in node.weights
    )


def test_bits_cost_least_within_the_budget():
    model = residual()
    names = [node.name for node in nodes(model) if node.kernels]
    random = np.random.default_rng(0)
    found = sensitivity(*(e for name in names for e in profile(name, *(random.random() * np.array([1e-4, 1e-2, 1])))))
    costs = {name: {e.value: e.distortion for e in found.of(*BITS)[(name,)]} for name in names}
    for budget in (1200, 1400, 1700):
        chosen = found.allocation(model, budget, LEVELS)
        assert bytes_of(model, chosen) <= budget
        every = (dict(zip(names, each, strict=True)) for each in itertools.product(LEVELS, repeat=len(names)))
        least = min(sum(costs[n][b] for n, b in each.items()) for each in every if bytes_of(model, each) <= budget)
        assert sum(costs[n][b] for n, b in chosen.items()) == pytest.approx(least, rel=1e-4)
        assert len(set(chosen.values())) > 1


def test_a_budget_that_is_out_of_reach_gives_the_fewest_bits_and_one_without_limit_the_most():
    found = sensitivity(*profile("stem", 1e-4, 1e-2, 1))
    assert found.allocation(residual(), 0) == {"stem": 2}
    assert found.allocation(residual(), 1e9) == {"stem": 8}
    assert found.allocation(residual(), 1e9, bits=(3, 4, 5, 16)) == {"stem": 5}


def test_bits_that_were_not_measured_are_refused():
    with pytest.raises(UsageError, match=r"bits=\[16\]: none is in \[2, 8\]"):
        sensitivity(*profile("stem", 0, 0, 0)).allocation(residual(), 0, bits=[16])
    with pytest.raises(UsageError, match="no effects were measured"):
        Sensitivity((), {}, Reference(1, None, None)).allocation(residual(), 0)
