import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.numerics.allocation import allocate


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=40)
def test_no_other_choice_within_the_budget_costs_less(seed, tight):
    random = np.random.default_rng(seed)
    costs, sizes = random.random((4, 3)) ** 8, random.random((4, 3))
    budget = sizes.min(1).sum() + tight * (sizes.max(1).sum() - sizes.min(1).sum())
    found = allocate(costs, sizes, budget)
    rows = np.arange(4)
    every = [list(each) for each in itertools.product(range(3), repeat=4) if sizes[rows, each].sum() <= budget]
    assert sizes[rows, found].sum() <= budget
    least = min(costs[rows, each].sum() for each in every)
    assert costs[rows, found].sum() == pytest.approx(least, rel=1e-4)  # the solver's gap


def test_all_have_the_cheapest_where_there_is_room_for_it():
    assert allocate(np.array([[1, 0], [0, 1]]), np.array([[1, 2], [2, 1]]), 4) == [1, 0]


def test_a_budget_below_the_smallest_choices_has_no_solution():
    sizes = np.array([[1, 2], [1, 2]])
    assert allocate(np.zeros((2, 2)), sizes, 1.9) is None
    assert allocate(np.array([[5, 0], [1, 0]]), sizes, 2) == [0, 0]


def test_costs_of_many_orders_of_magnitude_count():
    """The item with the larger cost gets what is left, also where both are far below the largest."""
    costs = np.array([[1e-3, 1e-7], [2e-3, 1e-7], [1e2, 1e-7]])
    assert allocate(costs, np.array([[1, 2]] * 3), 5) == [0, 1, 1]


def test_choices_far_below_the_dearest_are_still_the_best():
    """Differences of 1e-9 count where there is room for such choices, although others cost 1."""
    random = np.random.default_rng(1)
    fine = random.random((6, 2)) * 1e-9
    costs, sizes = np.hstack([np.ones((6, 1)), fine]), np.array([[1, 2, 3]] * 6)
    found = np.array(allocate(costs, sizes, 15))
    least = min(
        costs[np.arange(6), each].sum()
        for each in itertools.product(range(3), repeat=6)
        if sizes[np.arange(6), each].sum() <= 15
    )
    assert costs[np.arange(6), found].sum() == pytest.approx(least, rel=1e-4)
    assert allocate(costs * 1e-9, sizes, 15) == allocate(costs * 1e9, sizes, 15) == found.tolist()


def test_a_thousand_items_take_no_time_to_speak_of():
    random = np.random.default_rng(0)
    sizes = random.integers(1, 10_000, (1000, 1)) * np.arange(2, 9)
    found = allocate(random.random((1000, 1)) * 4.0 ** -np.arange(2, 9), sizes, sizes.max(1).sum() * 0.6)
    assert sizes[np.arange(1000), found].sum() <= sizes.max(1).sum() * 0.6
