"""Which trials are rebuilt, and in what order."""

from kcompress.run.options import Budgets
from kcompress.tuning.choice import ranked
from kcompress.tuning.figures import Figures
from kcompress.tuning.trials import Trial

LIMITS = Budgets(max_drop=1.0, max_size=900)


def trial(number, size, drop):
    return Trial(number, "done", {"x": number}, Figures(bytes=size, drop=drop), 1.0)


def numbers(trials):
    return [each.number for each in trials]


def test_the_smallest_that_met_the_budgets_is_the_best_and_then_who_came_closest():
    trials = [trial(0, 500, 0.9), trial(1, 400, 1.2), trial(2, 450, 0.5), trial(3, 300, 4.0), trial(4, 950, 0.0)]
    assert numbers(ranked(trials, LIMITS, True)) == [2, 0, 4, 1, 3]
