"""Rounding against a layer's moment: on the grid, zeros kept, and never worse than each weight's nearest level."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.numerics.rounding import adaround, best_scale, error, gptq, nearest

METHODS = {
    "nearest": lambda grid, moment, low, high: nearest(grid, low, high),
    "gptq": gptq,
    "adaround": lambda grid, moment, low, high: adaround(grid, moment, low, high, steps=20),
}
ROUNDING = 1 + 1e-9  # errors are float64 sums in an order that may differ


def correlated(seed, inputs, outputs, groups=None, rank=2, dead=0):
    """A grid and a moment of inputs that share `rank` causes; `dead` inputs are always zero."""
    random = np.random.default_rng(seed)
    front = () if groups is None else (groups,)
    x = random.normal(size=(*front, 60, rank)) @ random.normal(size=(*front, rank, inputs))
    x += 0.3 * random.normal(size=x.shape)
    x[..., :dead] = 0
    grid = random.normal(scale=3, size=(*front, inputs, outputs))
    grid[random.random(grid.shape) < 0.2] = 0
    return grid, x.swapaxes(-1, -2) @ x / 60


cases = st.builds(
    correlated,
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 4),
    st.none() | st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 2),
)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=50)
@given(cases, st.sampled_from([(-7, 7), (-3, 3), (-1, 1), (-8, 7), (0, 3)]))
def test_results_are_levels_and_zeros_stay(method, case, levels):
    grid, moment = case
    ints = METHODS[method](grid, moment, *levels)
    assert ints.dtype == np.int32
    assert ints.shape == grid.shape
    assert ints.min() >= levels[0]
    assert ints.max() <= levels[1]
    assert not ints[grid == 0].any()


@pytest.mark.parametrize("method", ["gptq", "adaround"])
@settings(max_examples=50)
@given(cases, st.sampled_from([1, 3, 7]))
def test_no_output_is_worse_than_with_the_nearest_levels(method, case, high):
    grid, moment = case
    errors = error(grid, METHODS[method](grid, moment, -high, high), moment)
    assert (errors <= error(grid, nearest(grid, -high, high), moment) * ROUNDING).all()


@pytest.mark.parametrize("method", ["gptq", "adaround"])
@pytest.mark.parametrize("groups", [None, 3])
def test_on_correlated_inputs_most_of_the_error_goes(method, groups):
    grid, moment = correlated(0, 40, 16, groups)
    ints = METHODS[method](grid, moment, -7, 7)
    assert error(grid, ints, moment).sum() < 0.5 * error(grid, nearest(grid, -7, 7), moment).sum()


@pytest.mark.parametrize("method", ["gptq", "adaround"])
def test_few_weights_come_close_to_the_best_of_all_roundings(method):
    grid, moment = correlated(3, 6, 8)
    shifts = np.array(list(itertools.product((0, 1), repeat=6))).T
    best = [
        min(error(np.repeat(column, 64, 1), np.clip(np.floor(column) + shifts, -7, 7), moment))
        for column in np.split(grid, 8, 1)
    ]
    ratio = error(grid, METHODS[method](grid, moment, -7, 7), moment).sum() / np.sum(best)
    assert ratio < 1.5  # nearest gives 3.1
    assert error(grid, nearest(grid, -7, 7), moment).sum() / np.sum(best) > 2


@pytest.mark.parametrize("method", ["gptq", "adaround"])
@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_independent_inputs_of_equal_size_give_the_nearest_levels(method, seed):
    grid, _ = correlated(seed, 9, 4)
    np.testing.assert_array_equal(METHODS[method](grid, np.eye(9), -7, 7), nearest(grid, -7, 7))


@pytest.mark.parametrize("method", ["gptq", "adaround"])
def test_inputs_that_never_fire_get_the_nearest_levels(method):
    grid, moment = correlated(1, 8, 5, dead=2)
    assert not np.diag(moment)[:2].any()
    ints = METHODS[method](grid, moment, -7, 7)
    if method == "gptq":  # adaround leaves their direction to the regularizer, which is as good
        np.testing.assert_array_equal(ints[:2], nearest(grid, -7, 7)[:2])
    np.testing.assert_array_equal(METHODS[method](grid, np.zeros((8, 8)), -7, 7), nearest(grid, -7, 7))


@pytest.mark.parametrize("method", METHODS)
def test_a_group_is_rounded_as_if_it_were_alone(method):
    grid, moment = correlated(2, 9, 4, groups=3)
    together = METHODS[method](grid, moment, -7, 7)
    for group in range(3) if method != "adaround" else ():  # adaround draws one offset for all groups
        np.testing.assert_array_equal(together[group], METHODS[method](grid[group], moment[group], -7, 7))
    whole = error(grid, together, moment)
    assert whole.shape == (3, 4)
    for group in range(3):
        np.testing.assert_allclose(whole[group], error(grid[group], together[group], moment[group]), rtol=1e-12)


def test_the_error_is_the_mean_square_change_of_the_outputs():
    random = np.random.default_rng(0)
    x, weights, scale = random.normal(size=(50, 6)), random.normal(size=(6, 3)), np.array([0.1, 0.2, 0.4])
    ints = nearest(weights / scale, -7, 7)
    expected = ((x @ (ints * scale) - x @ weights) ** 2).mean(0)
    np.testing.assert_allclose(error(weights / scale, ints, x.T @ x / 50, scale), expected, rtol=1e-12)


def test_blocks_carry_what_was_rounded_before_them(monkeypatch):
    grid, moment = correlated(5, 50, 6, rank=6)
    whole = gptq(grid, moment, -7, 7)
    monkeypatch.setattr("kcompress.numerics.rounding.BLOCK", 7)
    np.testing.assert_array_equal(gptq(grid, moment, -7, 7), whole)


def test_gptq_compensates_as_with_the_inverse_of_the_moment():
    """The published recursion: Cholesky factor U of H⁻¹, w_j -= (w_i - q_i) U_ij / U_ii for the j after i."""
    grid, moment = correlated(7, 20, 8)
    order = np.argsort(-np.diag(moment), kind="stable")
    damped = moment[np.ix_(order, order)] + 0.01 * np.diag(moment).mean() * np.eye(20)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, ints = grid[order].copy(), np.zeros((20, 8))
    for i in range(20):
        ints[i] = np.where(grid[order][i] == 0, 0, np.clip(np.rint(left[i]), -7, 7))
        left[i + 1 :] -= np.outer(upper[i, i + 1 :], left[i] - ints[i]) / upper[i, i]
    expected = np.empty_like(ints)
    expected[order] = ints
    better = error(grid, expected, moment) < error(grid, nearest(grid, -7, 7), moment)
    assert better.sum() >= 6
    np.testing.assert_array_equal(gptq(grid, moment, -7, 7)[:, better], expected[:, better])


def test_adaround_learns_beyond_where_it_starts():
    cases = [correlated(seed, 60, 16, rank=8) for seed in range(4)]
    ratios = [
        error(grid, adaround(grid, moment, -3, 3), moment).sum()
        / error(grid, adaround(grid, moment, -3, 3, steps=0), moment).sum()
        for grid, moment in cases
    ]
    assert max(ratios) < 0.85  # 0.61 to 0.70


def test_adaround_keeps_zeros_whatever_the_moment_wants():
    grid, moment = correlated(9, 30, 16, rank=1)
    assert not adaround(grid, moment, -1, 1, regularizer=0.0)[grid == 0].any()


def test_adaround_is_reproducible_for_a_seed():
    grid, moment = correlated(4, 30, 10)
    np.testing.assert_array_equal(adaround(grid, moment, -7, 7, seed=1), adaround(grid, moment, -7, 7, seed=1))


def test_a_moment_of_fewer_samples_than_inputs_is_damped_until_it_works():
    grid, moment = correlated(6, 12, 3, dead=1)
    single = np.outer(moment[2], moment[2]).astype(np.float32)
    ints = gptq(grid, single, -7, 7, damping=0.0)
    assert (error(grid, ints, single) <= error(grid, nearest(grid, -7, 7), single) * ROUNDING).all()


@pytest.mark.parametrize("groups", [None, 3])
def test_the_best_scale_is_the_best_of_those_tried(groups):
    weights, moment = correlated(8, 30, 5, groups)
    full = np.abs(weights).max(-2) / 3
    tried = [full * share for share in (1.0, 0.8, 0.6)]
    errors = []
    for scale in tried:
        grid = weights / scale[..., None, :]
        errors.append(error(grid, nearest(grid, -3, 3), moment, scale))
    found = best_scale(weights, tried, moment, -3, 3)
    np.testing.assert_array_equal(found, np.choose(np.argmin(errors, 0), tried))
    assert len(np.unique(np.argmin(errors, 0))) > 1
    together = best_scale(weights, tried, moment, -3, 3, together=True)
    np.testing.assert_array_equal(together, tried[np.argmin([each.sum() for each in errors])])
