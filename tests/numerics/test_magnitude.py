"""Which weights are selected: exact counts, the smallest ones, and never all of an array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kcompress.numerics.magnitude import below, n_of_m, smallest, spare_one

# few distinct values, so that ties are common
weights = arrays(np.float32, array_shapes(min_dims=1, max_dims=4, max_side=7), elements=st.integers(-9, 9)) | arrays(
    np.float32, array_shapes(min_dims=1, max_dims=4, max_side=7), elements=st.floats(-4, 4, width=32)
)


@given(weights, st.floats(0, 1))
def test_a_share_selects_exactly_that_many_of_the_smallest(w, share):
    (mask,) = smallest([w], share)
    count = min(round(share * w.size), w.size - 1)  # one is always spared
    assert mask.shape == w.shape
    assert mask.sum() == count
    if count:
        assert np.abs(w[mask]).max() <= np.abs(w[~mask]).min()


@given(st.lists(weights, min_size=1, max_size=4), st.floats(0, 1))
def test_a_global_share_is_the_smallest_of_all_arrays_but_for_one_spared_in_each(ws, share):
    every = np.concatenate([np.abs(w).ravel() for w in ws])
    ranked = np.lexsort((np.arange(every.size), every))[: round(share * every.size)]
    expected = np.zeros(every.size, bool)
    expected[ranked] = True
    start = 0
    for w, mask in zip(ws, smallest(ws, share), strict=True):
        own = expected[start : start + w.size].reshape(w.shape)
        start += w.size
        assert not mask.all()
        if own.all():
            spared = np.flatnonzero(~mask)
            assert spared.size == 1
            assert np.abs(w).flat[spared[0]] == np.abs(w).max()
        else:
            np.testing.assert_array_equal(mask, own)


@given(weights, st.integers(1, 3), st.integers(0, 3), st.data())
def test_n_of_m_keeps_the_n_largest_of_every_group(w, n, extra, data):
    m, axis = n + 1 + extra, data.draw(st.integers(-w.ndim, w.ndim - 1))
    kept = np.moveaxis(~n_of_m(w, n, m, axis), axis, -1)
    sizes = np.moveaxis(np.abs(w), axis, -1)
    for start in range(0, kept.shape[-1], m):
        group, values = kept[..., start : start + m], sizes[..., start : start + m]
        assert (group.sum(-1) == min(n, group.shape[-1])).all()
        assert (np.where(group, values, np.inf).min(-1) >= np.where(group, -np.inf, values).max(-1)).all()


@given(weights, st.floats(0, 10))
def test_a_threshold_selects_what_lies_below_it_but_for_one(w, threshold):
    mask = below(w, threshold)
    expected = np.abs(w) < threshold
    assert not mask.all()
    assert mask.sum() == expected.sum() - int(expected.all())
    assert (expected | ~mask).all()


@pytest.mark.parametrize(
    "mode", [lambda w: smallest([w], 0.9)[0], lambda w: below(w, 1.0), lambda w: n_of_m(w, 1, 2, 0)]
)
def test_an_array_of_one_weight_keeps_it(mode):
    assert not mode(np.array([0.1])).any()


def test_of_equal_weights_the_first_are_selected_by_share_and_kept_by_group():
    equal = np.ones(4, np.float32)
    assert smallest([equal], 0.5)[0].tolist() == [True, True, False, False]
    assert n_of_m(equal, 1, 2, 0).tolist() == [False, True, False, True]


def test_the_one_that_is_spared_is_the_largest():
    assert below(np.array([0.1, -0.3, 0.2]), 1.0).tolist() == [True, False, True]


def test_sparing_leaves_the_given_mask_alone():
    mask = np.ones(3, bool)
    assert spare_one(np.array([1.0, 2.0, 3.0]), mask).sum() == 2
    assert mask.all()


def test_nothing_to_rank_gives_nothing():
    assert smallest([], 0.5) == []
    assert smallest([np.empty((0, 3))], 0.5)[0].shape == (0, 3)
