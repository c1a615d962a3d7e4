"""What one trial with all of the training says of the others, and who is rebuilt after one that missed."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from kcompress.run.options import Budgets
from kcompress.tuning import rebuilding
from kcompress.tuning.fidelity import ReferenceDrops, budgets_for_trials, unbiased_budgets
from kcompress.tuning.figures import Figures
from kcompress.tuning.rebuilding import RebuildOrder, next_candidate
from kcompress.tuning.report.progress import line
from kcompress.tuning.study import Study
from kcompress.tuning.trials import StudySettings
from tests.tuning.test_choice import trial
from tests.tuning.test_study import SPARSITY, TEMPLATE, open_study, outcome

LIMITS = Budgets(max_drop=1.0)
PLAN = StudySettings("study", "bayes", 6, Budgets(max_drop=1.0), fidelity=True)


@pytest.mark.parametrize(
    ("drops", "limit"),
    [
        (None, 1.0),
        (ReferenceDrops(2.5, 1.0), 2.5),
        (ReferenceDrops(2.5, 0.5), 3.0),  # two points, not five times the drop
        (ReferenceDrops(6.0, 3.0), 2.0),  # twice the drop, not three points
        (ReferenceDrops(2.0, -0.5), 3.5),
        (ReferenceDrops(0.5, 0.8), 1.0),  # more training made it worse: by chance
    ],
)
def test_a_trial_may_lose_what_more_training_gives_back(drops, limit):
    assert budgets_for_trials(Budgets(max_drop=1.0, max_size=9), drops) == Budgets(max_drop=limit, max_size=9)


@pytest.mark.parametrize(
    ("drops", "limit"),
    [
        (None, 7.0),
        (ReferenceDrops(11.0, 6.5), 11.5),  # 4.5 points, for of the drop half a point is left
        (ReferenceDrops(11.0, 8.0), 8.5),  # two and a half times the drop, not three points
        (ReferenceDrops(7.0, 8.0), 7.0),
        (ReferenceDrops(3.0, 4.0), 7.0),
    ],
)
def test_what_the_mildest_loses_is_taken_for_no_loss(drops, limit):
    assert unbiased_budgets(LIMITS, 6.0) == Budgets(max_drop=7.0)
    assert budgets_for_trials(LIMITS, drops, 6.0) == Budgets(max_drop=limit)
    assert (
        unbiased_budgets(Budgets(max_size=9), 6.0)
        == budgets_for_trials(Budgets(max_size=9), drops, 6.0)
        == Budgets(max_size=9)
    )


def test_without_a_drop_allowed_nothing_is_raised():
    assert budgets_for_trials(Budgets(max_size=9), ReferenceDrops(2.0, 1.0)) == Budgets(max_size=9)


def test_the_first_trial_that_is_measured_gets_all_of_the_training():
    study = open_study(plan=PLAN)
    first = study.next()
    assert first.full_training and first.max_drop == math.inf, "nothing is hopeless while that is not known"
    study.cut(first.number, Figures(bytes=900), 0.0, "too large")
    second = study.next()
    assert second.full_training
    short = Figures(bytes=500, drop=2.5)
    study.done(second.number, short, 0.0, full=replace(short, drop=1.0))
    third = study.next()
    assert not third.full_training and third.max_drop == study.fidelity.limits.max_drop == 2.5
    study.done(third.number, Figures(bytes=400, drop=2.0), 0.0)
    study.done(study.next().number, Figures(bytes=300, drop=2.5), 0.0)
    assert study.next().best == 500, "trials within the raised budget are to be beaten"
    assert [each.full and each.full.drop for each in study.trials()] == [None, 1.0, None, None]
    assert "full" in study.trials()[1].to_json() and "full" not in study.trials()[2].to_json()


def test_a_trial_of_the_mildest_values_should_lose_nothing():
    mild, severe = TEMPLATE.severe(0.0), TEMPLATE.severe(1.0)
    assert (mild[SPARSITY], severe[SPARSITY]) == (0.1, 0.9)
    study = open_study(plan=replace(PLAN, mildest=mild))
    study.suggest([mild, severe])
    first, second, third = study.next(), study.next(), study.next()
    assert (first.values, second.values) == (mild, severe)
    assert (first.full_training, second.full_training, third.full_training) == (True, True, False)
    study.done(first.number, Figures(bytes=500, drop=5.0), 0.0, full=Figures(bytes=500, drop=3.0))
    assert study.fidelity.unbiased_budgets == study.fidelity.limits == Budgets(max_drop=4.0)
    assert third.max_drop == study.next().max_drop == math.inf
    study.done(second.number, Figures(bytes=500, drop=9.0), 0.0, full=Figures(bytes=500, drop=3.5))
    assert study.fidelity.cautious_budgets == Budgets(max_drop=9 / 3.5)
    assert study.next().max_drop == study.fidelity.limits.max_drop == 9.5


def test_the_mildest_values_may_be_too_large_to_tell_anything():
    mild = TEMPLATE.severe(0.0)
    study = open_study(plan=replace(PLAN, fidelity=False, mildest=mild))
    study.suggest([mild])
    first = study.next()
    assert first.max_drop == study.next().max_drop == math.inf
    study.cut(first.number, Figures(bytes=900), 0.0, "over budget, whatever training does")
    assert study.next().max_drop == study.fidelity.unbiased_budgets.max_drop == 1.0


def test_what_the_mildest_values_lose_is_measured_where_trials_get_all_of_the_training():
    mild = TEMPLATE.severe(0.0)
    study = open_study(plan=replace(PLAN, fidelity=False, mildest=mild))
    study.suggest([mild])
    first, second = study.next(), study.next()
    assert (first.full_training, second.full_training) == (True, False)
    study.done(first.number, Figures(bytes=500, drop=3.0), 0.0, full=Figures(bytes=500, drop=3.0))
    assert study.next().max_drop == study.fidelity.limits.max_drop == study.fidelity.unbiased_budgets.max_drop == 4.0
    assert study.fidelity.cautious_budgets == LIMITS


def test_only_one_worker_trains_a_trial_whole(tmp_path):
    url = str(tmp_path / "t.journal")
    one, two = (open_study(url, PLAN, worker) for worker in ("a", "b"))
    first, other = one.next(), two.next()
    assert first.full_training and not other.full_training
    one.done(first.number, outcome(first.values), 0.0, full=Figures(bytes=1, drop=-1.0))
    assert two.fidelity.limits == one.fidelity.limits != PLAN.limits


def test_nothing_is_gauged_where_that_was_not_planned():
    study: Study = open_study(plan=replace(PLAN, fidelity=False), template=TEMPLATE)
    assert not study.next().full_training


def rebuilt(size, drop, met=False, width=1.0):
    figures = Figures(bytes=size, drop=drop, ci95=(drop - width, drop + width))
    return SimpleNamespace(trial=trial(0, size, 2.0), figures=figures, met=met)


def order(unbiased_budgets=1.0, safe=None):
    return RebuildOrder([], Budgets(max_drop=unbiased_budgets), safe)


def test_the_first_one_is_rebuilt_until_one_misses_the_drop():
    left = [trial(1, 400, 2.4), trial(2, 450, 2.1)]
    assert next_candidate(left, [], LIMITS, order()) == 0
    assert next_candidate(left, [rebuilt(300, 0.9)], LIMITS, order()) == 0, "what was missed is another budget"
    assert next_candidate(left, [rebuilt(300, 1.3)], Budgets(max_size=9), order()) == 0


def test_after_a_miss_the_next_one_is_in_the_middle_between_that_and_one_that_met_the_budgets():
    left = [trial(1, 310, 2.0), trial(2, 400, 1.9), trial(3, 410, 2.3), trial(4, 480, 1.8), trial(5, 520, 0.9)]
    assert next_candidate(left, [rebuilt(300, 1.3)], LIMITS, order()) == 1, (
        "410 is nearer, but larger and worse than 400"
    )
    assert next_candidate(left[2:], [rebuilt(300, 1.3), rebuilt(400, 1.1)], LIMITS, order()) == 1
    left[1] = replace(left[1], full=Figures(bytes=400, drop=0.5))
    assert next_candidate(left, [rebuilt(300, 1.3)], LIMITS, order()) == 0, "with all of the training, 400 met them"
    assert next_candidate(left, [rebuilt(330, 1.3)], LIMITS, order()) == 1, "nothing is between"
    assert next_candidate(left[1:], [rebuilt(300, 1.3)], LIMITS, order(1.9)) == 0, "480 met them but for the data"


def test_the_last_that_may_be_rebuilt_is_the_smallest_that_met_the_budgets():
    left = [trial(1, 400, 2.4), trial(2, 900, 0.5), trial(3, 500, 0.9)]
    missed = [rebuilt(size, 1.3) for size in (300, 320, 340)]
    assert next_candidate(left, missed, LIMITS, order()) == 2
    safe = order(3.0, left[1])
    assert next_candidate(left, missed, LIMITS, safe) == 1, "nothing is taken for no loss any more"
    assert next_candidate(left, missed[:2], LIMITS, safe) == 0


def test_where_nothing_met_the_budgets_the_next_larger_one_is_rebuilt_and_then_the_first():
    left = [trial(1, 250, 2.4), trial(2, 450, 2.1), trial(3, 400, 2.3)]
    assert next_candidate(left, [rebuilt(300, 1.3)], LIMITS, order()) == 2
    assert next_candidate(left, [rebuilt(500, 1.3)], LIMITS, order()) == 0


def test_where_the_drop_is_surely_met_smaller_ones_are_rebuilt():
    left = [trial(1, 500, 2.0), trial(2, 250, 2.8), trial(3, 200, 2.9), trial(4, 220, 3.5), trial(5, 150, 3.0)]
    large, small = rebuilt(400, -1.0, met=True), rebuilt(250, 1.2)
    assert next_candidate(left, [large], LIMITS, order()) == 1, "275 is in the middle"
    assert next_candidate(left, [rebuilt(400, 0.5, met=True)], LIMITS, order()) is None, "it may miss the drop"
    assert next_candidate(left, [replace_interval(large, None)], LIMITS, order()) is None
    assert next_candidate(left, [large], Budgets(max_size=500), order()) is None, "of other budgets all is known"
    small_loss = rebuilt(400, -0.6, met=True)  # 2.6 points less than as a trial, so that up to 3.6 may be one
    assert next_candidate([trial(1, 300, 3.7)], [small_loss], LIMITS, order()) is None
    assert next_candidate([trial(1, 300, 3.5)], [small_loss], LIMITS, order()) == 0
    del left[1]
    assert next_candidate(left, [large, small], LIMITS, order()) is None, "nothing is between"
    assert next_candidate(left, [large, rebuilt(250, -0.5, met=True)], LIMITS, order()) == 1
    assert next_candidate([*left, trial(6, 320, 2.5)], [large, small], LIMITS, order()) == 4


def replace_interval(each, interval):
    return SimpleNamespace(**{**vars(each), "figures": replace(each.figures, ci95=interval)})


def test_the_smallest_that_met_the_budgets_is_the_winner(monkeypatch, tmp_path):
    drops = {400: -1.0, 250: 1.2, 330: 0.9}
    monkeypatch.setattr(rebuilding, "judged", lambda report, limits, output: report)
    monkeypatch.setattr(rebuilding, "RebuiltCandidate", lambda trial, steps, report, draft: report)
    trials = [trial(1, 400, 2.0), trial(2, 250, 2.8), trial(3, 330, 2.5)]
    told = []

    def compress(steps, draft):
        told.append(steps)
        return rebuilt(steps, drops[steps], met=drops[steps] <= 1)

    some = RebuildOrder(trials, LIMITS, trials[0])
    found = rebuilding.rebuild(some, LIMITS, tmp_path / "o.keras", lambda each: each.figures.bytes, compress)
    assert told == [400, 330]
    assert found[-1].figures.bytes == 330
    drops[330] = 1.1
    found = rebuilding.rebuild(some, LIMITS, tmp_path / "o.keras", lambda each: each.figures.bytes, compress)
    assert [each.figures.bytes for each in found] == [330, 400]


def test_the_line_of_a_trial_tells_what_may_come_of_it():
    limits, trial_budgets = Budgets(max_drop=1.0), Budgets(max_drop=2.5)
    said = [line(trial(0, 500, drop), limits, trial_budgets) for drop in (0.9, 2.0, 2.6)]
    assert [each.split(", ")[2] for each in said] == ["meets the budgets", "may meet the budgets", "over budget"]
    both = replace(trial(0, 500, 2.0), full=Figures(bytes=500, drop=0.5))
    assert "drop 2.00 (0.50 with all training)" in line(both, limits, trial_budgets)
    same = trial(0, 500, 2.0)
    assert line(replace(same, full=same.figures), limits, trial_budgets) == line(same, limits, trial_budgets), (
        "nothing trains"
    )
