import numpy as np
import pytest

from kcompress.numerics.clusters import clusters

PROFILES = np.array([[1e-6, 1e-5], [1e-1, 1.0], [2e-6, 1e-5], [1e-3, 1e-2], [2e-1, 1.0]])


def test_figures_of_one_size_are_together_and_the_largest_come_first():
    assert clusters(PROFILES, 3) == [[1, 4], [3], [0, 2]]
    assert clusters(PROFILES, 2) == [[1, 3, 4], [0, 2]]
    assert clusters(PROFILES, 1) == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("groups", [5, 50])
def test_as_many_groups_as_items_part_all(groups):
    assert clusters(PROFILES, groups) == [[4], [1], [3], [2], [0]]


def test_equal_items_are_never_parted():
    assert clusters(np.ones((3, 2)), 3) == [[0, 1, 2]]


def test_the_order_of_items_does_not_change_the_groups():
    order = np.random.default_rng(0).permutation(5)
    again = [sorted(order[row] for row in rows) for rows in clusters(PROFILES[order], 3)]
    assert again == clusters(PROFILES, 3)


def test_nothing_and_infinity_are_figures_too():
    profiles = np.array([[0.0, 0.0], [np.inf, np.inf], [np.nan, np.inf], [1e-2, 1e-2]])
    assert clusters(profiles, 3) == [[1, 2], [3], [0]]


def test_one_item_is_one_group():
    assert clusters(np.ones((1, 3)), 4) == [[0]]
