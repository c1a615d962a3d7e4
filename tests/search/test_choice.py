"""Which trials are rebuilt, and in what order."""

import pytest

from kcompress.budgets import Limits
from kcompress.search.choice import hopeful, ranked
from kcompress.search.figures import Figures
from kcompress.search.trials import Trial

LIMITS = Limits(max_drop=1.0, max_size=900)


def trial(number, size, drop, least=None):
    """A measured trial whose drop is `least` at least."""
    figures = Figures(bytes=size, drop=drop, ci95=(drop - 0.5 if least is None else least, drop + 0.5))
    return Trial(number, "done", {"x": number}, figures, 1.0)


def numbers(trials):
    return [each.number for each in trials]


def test_the_smallest_that_met_the_budgets_is_the_best_and_then_who_came_closest():
    trials = [trial(0, 500, 0.9), trial(1, 400, 1.2), trial(2, 450, 0.5), trial(3, 300, 4.0), trial(4, 950, 0.0)]
    assert numbers(ranked(trials, LIMITS, True)) == [2, 0, 4, 1, 3]


def test_who_may_meet_the_drop_with_more_training_comes_first_where_it_is_smaller():
    met, close, far, large = trial(0, 500, 0.9), trial(1, 400, 1.2), trial(2, 300, 4.0), trial(3, 600, 1.1)
    order = ranked([met, close, far, large], LIMITS, True)
    assert numbers(hopeful(order, LIMITS)) == [1]
    assert hopeful([met], LIMITS) == []


def test_the_two_that_lost_least_are_tried_the_smaller_one_first():
    trials = [trial(0, 500, 0.9), trial(1, 300, 1.4), trial(2, 350, 1.3), trial(3, 320, 1.2), trial(4, 310, 1.3, 1.01)]
    assert numbers(hopeful(ranked(trials, LIMITS, True), LIMITS)) == [3, 2]


@pytest.mark.parametrize("limits", [Limits(max_size=900), Limits(max_drop=1.0, max_size=200)])
def test_nobody_is_hopeful_without_a_drop_allowed_or_beyond_another_budget(limits):
    trials = [trial(0, 500, 0.9), trial(1, 400, 1.2)]
    assert hopeful(ranked(trials, limits, True), limits) == []


def test_where_nothing_met_the_drop_any_size_is_hopeful():
    trials = [trial(0, 800, 1.1), trial(1, 400, 1.2)]
    assert numbers(hopeful(ranked(trials, LIMITS, True), LIMITS)) == [1, 0]
