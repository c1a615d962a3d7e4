"""The study: what is tried and counted, and what becomes of trials whose worker is gone.

Covers: tuning/samplers.py, tuning/storage.py, tuning/trials.py.
"""

import signal
import time
from dataclasses import replace

import pytest

from kcompress.codec import decode, encode
from kcompress.errors import UsageError
from kcompress.recipe import mapping
from kcompress.run.options import Budgets
from kcompress.tuning import study as module
from kcompress.tuning.figures import Figures
from kcompress.tuning.storage import open_storage
from kcompress.tuning.study import Study
from kcompress.tuning.template import Template
from kcompress.tuning.trials import StudySettings

TEMPLATE = Template.of([mapping("prune.magnitude:sparsity={search:[0.1,0.9]},ranking={search:true}")])
SPARSITY = "prune.magnitude:sparsity"
PLAN = StudySettings("study", "bayes", 12, Budgets(max_drop=1.0))


def outcome(values) -> Figures:
    """A file that shrinks with its zeros and loses more the more of them there are."""
    return Figures(bytes=round(1000 * (1 - values[SPARSITY])), drop=4 * values[SPARSITY] ** 2)


def carry_out(study: Study, most: int | None = None) -> None:
    """Work until nothing is left, or so many trials are done."""
    while (most is None or len(study.trials()) < most) and (asked := study.next()) is not None:
        assert asked != "wait"
        study.done(asked.number, outcome(asked.values), 0.0)


def open_study(url=None, plan=PLAN, worker="", template=TEMPLATE) -> Study:
    return Study(open_storage(url), plan, template.dimensions, worker)


@pytest.mark.parametrize("kind", ["random", "bayes", "pareto"])
def test_the_same_seed_tries_the_same(kind):
    tried = []
    for seed in (0, 0, 1):
        study = open_study(plan=replace(PLAN, kind=kind, seed=seed))
        carry_out(study)
        tried.append([trial.values for trial in study.trials()])
        assert len(tried[-1]) == PLAN.trials
    assert tried[0] == tried[1] != tried[2]


def test_bayes_looks_where_the_budget_is_just_met():
    """4 s² <= 1 for s <= 0.5: the smallest file that meets the budget has half its weights."""
    study = open_study(plan=replace(PLAN, trials=30))
    carry_out(study)
    late = [trial.values[SPARSITY] for trial in study.trials()[15:]]
    random = open_study(plan=replace(PLAN, trials=30, kind="random"))
    carry_out(random)
    blind = [trial.values[SPARSITY] for trial in random.trials()[15:]]
    assert sum(abs(value - 0.5) < 0.1 for value in late) > sum(abs(value - 0.5) < 0.1 for value in blind)


def test_what_is_suggested_comes_first():
    study = open_study()
    start = {SPARSITY: 0.25, "prune.magnitude:ranking": "global"}
    study.suggest([start, start])
    carry_out(study)
    assert [trial.values for trial in study.trials()].count(start) == 1
    assert study.trials()[0].values == start


@pytest.mark.parametrize("url", ["sqlite:///{}/study.db", "{}/study.journal", "journal://{}/study"])
def test_a_search_goes_on_where_it_was_left(url, tmp_path):
    carry_out(open_study(url.format(tmp_path)), 5)
    again = open_study(url.format(tmp_path))
    assert len(again.trials()) == 5
    carry_out(again)
    whole = open_study()
    carry_out(whole)
    assert [trial.values for trial in again.trials()] == [trial.values for trial in whole.trials()]
    other = open_study(url.format(tmp_path), replace(PLAN, study="other"))
    assert other.trials() == []


def test_a_trial_of_known_values_is_not_carried_out_again():
    template = Template.of([mapping("prune.magnitude:sparsity={search:[0.1,0.2,0.3,0.4,0.5,0.6]}")])
    study = open_study(plan=replace(PLAN, kind="random", trials=40), template=template)
    carried_out = []
    while (asked := study.next()) is not None:
        carried_out.append(asked.values[SPARSITY])
        study.done(asked.number, outcome(asked.values), 1.0)
    assert sorted(carried_out) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    repeats = [trial for trial in study.trials() if trial.reason]
    assert repeats
    assert all(trial.reason.startswith("as trial ") and trial.figures.bytes for trial in repeats)
    assert len(study.trials()) < 40  # ends when there is nothing else


def test_workers_together_carry_out_no_more_than_was_asked_for(tmp_path):
    url = str(tmp_path / "s.journal")
    one, two = (open_study(url, replace(PLAN, trials=3), str(number)) for number in range(2))
    first, second, third = one.next(), two.next(), one.next()
    assert two.next() == "wait"
    assert len({(a.number, str(a.values)) for a in (first, second, third)}) == 3
    one.done(first.number, outcome(first.values), 0.0)
    assert two.next() == "wait"
    two.done(second.number, outcome(second.values), 0.0)
    one.done(third.number, outcome(third.values), 0.0)
    assert one.next() is None and two.next() is None
    assert len(two.trials()) == 3


def test_the_size_to_beat_is_that_of_the_third_smallest_within_the_budget():
    study = open_study()
    sizes = iter([(900, 0.5), (100, 3.0), (700, 0.9), (800, 0.1), (600, 0.2), (950, 0.0)])
    best = []
    for size, drop in sizes:
        asked = study.next()
        best.append(asked.best)
        study.done(asked.number, Figures(bytes=size, drop=drop), 0.0)
    assert best == [None, None, None, None, 900, 800]
    loses_least = open_study(plan=replace(PLAN, smallest=False))
    carry_out(loses_least, 3)
    assert loses_least.next().best is None


def test_what_can_not_be_built_or_was_given_up_counts_and_says_why():
    study = open_study(plan=replace(PLAN, trials=3))
    study.fail(study.next().number, "no such thing")
    study.cut(study.next().number, Figures(bytes=5000), 1.0, "too large")
    study.done(study.next().number, Figures(bytes=500, drop=0.0), 1.0)
    assert study.next() is None
    assert [(t.state, t.reason) for t in study.trials()] == [
        ("failed", "no such thing"),
        ("cut", "too large"),
        ("done", ""),
    ]


def test_a_search_ends_where_nothing_can_be_built():
    study = open_study()
    count = 0
    while (asked := study.next()) is not None:
        study.fail(asked.number, "impossible")
        count += 1
    assert count == module.FAILURES


def test_no_trial_is_begun_after_the_deadline():
    assert open_study(plan=replace(PLAN, deadline=time.time() - 1)).next() is None


def test_a_silent_trial_is_put_back_once(tmp_path):
    url, plan = f"sqlite:///{tmp_path}/s.db", replace(PLAN, trials=2, silent_seconds=0.0)
    dead, alive = open_study(url, plan, "dead"), open_study(url, plan, "alive")
    lost = dead.next()
    time.sleep(0.01)
    again = alive.next()
    assert (again.values, again.number != lost.number) == (lost.values, True)
    dead.done(lost.number, outcome(lost.values), 0.0)  # too late: it is another's
    assert alive.trials() == []
    time.sleep(0.01)
    other = dead.next()  # the one put back is silent too, and is given up
    assert other.values != lost.values
    (failed,) = dead.trials()
    assert (failed.state, failed.values) == ("failed", lost.values)
    assert "twice" in failed.reason


def test_a_trial_that_says_it_is_alive_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    url, plan = str(tmp_path / "s.journal"), replace(PLAN, trials=1, silent_seconds=0.6)
    one, two = open_study(url, plan, "one"), open_study(url, plan, "two")
    asked = one.next()
    with one.working(asked.number):
        time.sleep(1.0)
        assert two.next() == "wait"
    time.sleep(1.0)
    assert two.next().values == asked.values


def test_an_interrupted_trial_is_left_to_others_at_once(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    for _ in range(3):  # as often as it takes: nobody died of it
        study = open_study(url)
        asked = study.next()
        study.leave()
        assert study.trials() == []
    assert open_study(url).next().values == asked.values


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////no/such/folder/s.db", ["can't be reached"]),
        ("postgresql://nobody@127.0.0.1:1/none", ["can't be reached"]),
        ("/no/such/folder/s.journal", ["can't be reached"]),
        ("nowhere://x", ["can't be reached"]),
        ("study.txt", ["no kind of storage", "sqlite:///"]),
    ],
)
def test_a_storage_that_can_not_be_reached(url, words):
    with pytest.raises(UsageError) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)
    for word in [f"--storage {url}", *words]:
        assert word in str(caught.value)


def test_a_plan_survives_being_written_down():
    for plan in (PLAN, replace(PLAN, deadline=5.0)):
        assert decode(StudySettings, encode(plan)) == plan


def test_a_signal_waits_until_a_trial_is_known(monkeypatch):
    """Raised within Optuna's `ask`, it would leave a trial behind that nobody knows to be given up."""
    study = open_study()
    ask = study.study.ask

    def terminated():
        trial = ask()
        signal.raise_signal(signal.SIGTERM)
        return trial

    def end(_number, _frame):
        raise SystemExit(143)

    monkeypatch.setattr(study.study, "ask", terminated)
    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(SystemExit):
            study.next()
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)
    study.leave()
    states = [trial.state.name for trial in study.study.get_trials(deepcopy=False)]
    assert states == ["FAIL", "WAITING"]  # its values are those of the next trial


@pytest.mark.parametrize("smallest", [True, False])
def test_a_near_miss_is_better_than_a_far_one_and_than_much_that_meets_the_budgets(smallest):
    """What the sampler learns from: each of these beats the next one."""
    limits = Budgets(max_drop=1.0) if smallest else Budgets(max_size=1000)
    study = open_study(plan=replace(PLAN, limits=limits, smallest=smallest))
    better = [(500, 0.9), (480, 1.2), (900, 0.2), (500, 9.0), (400, 3000.0)]
    worse = [(900, 0.3), (1010, 0.3), (900, 0.9), (2000, 0.1), (900, 3000.0)]
    for size, drop in better if smallest else worse:
        study.done(study.next().number, Figures(bytes=size, drop=drop), 0.0)
    costs = [trial.value for trial in study.study.get_trials(deepcopy=False)]
    assert costs == sorted(costs) and len(set(costs)) == len(costs)
