"""The trials of a search, kept as an Optuna study: what is tried next, the outcomes, and what a worker left unfinished.

A trial is counted once it is finished: measured, cut short, or found to be nothing that can be built. Each running
trial says every few seconds that it is alive. One that has been silent for long is put back by whoever comes by, once.
"""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from kcompress.process_state import signals_held
from kcompress.tuning.choice import distinct
from kcompress.tuning.fidelity import Fidelity
from kcompress.tuning.figures import Figures, excess, total_excess
from kcompress.tuning.marks import Value
from kcompress.tuning.samplers import sampler, suggested
from kcompress.tuning.storage import without_warnings
from kcompress.tuning.template import Dimension
from kcompress.tuning.trials import (
    AGAIN,
    ALIVE,
    FIGURES,
    FULL,
    FULL_TRAINING,
    LEFT,
    REASON,
    REPEATS,
    SECONDS,
    VALUES,
    StudySettings,
    Trial,
    TrialRequest,
    trial_of,
)

HEARTBEAT_SECONDS = 5.0
PENALTY, MOST_PENALTY, POINTS = 1.0, 50.0, 10.0
"""What a budget exceeded by its own size costs: as if the file were e times as large, or 10 points worse."""
RUNNERS = 3
"""So many of the smallest candidates are of use, since the smallest may miss a budget in the end."""
FAILURES = 5
"""So many candidates in a row, from the first on, that can't be built, end a search."""


class Study:
    """The trials of one search; several workers may each have one of the same study.

    Signals that end the process wait while a trial is begun, finished or left: what was just created would be lost, and
    a database whose writing was cut off keeps others from writing.
    """

    def __init__(self, storage: Any, plan: StudySettings, dimensions: Sequence[Dimension], worker: str = "") -> None:
        import optuna

        self.plan, self.dimensions, self.worker = plan, dimensions, worker
        self._state = optuna.trial.TrialState
        self._in_memory = isinstance(storage, optuna.storages.InMemoryStorage)
        self._open: dict[int, Any] = {}
        self._values = math.prod(dimension.mark.count for dimension in dimensions)
        directions = [optuna.study.StudyDirection.MINIMIZE] * (2 if plan.kind == "pareto" else 1)
        self.study = optuna.create_study(
            storage=storage, study_name=plan.study, directions=directions, load_if_exists=True
        )
        self.fidelity = Fidelity(self.study, plan)

    def suggest(self, starts: Sequence[Mapping[str, Value]]) -> None:
        """Have these tried before anything else, if they were not yet."""
        for values in starts:
            self.study.enqueue_trial(dict(values), skip_if_exists=True)

    @signals_held()
    def next(self) -> TrialRequest | Literal["wait"] | None:
        """The next trial; None where there is none left, "wait" where others still work on the last ones."""
        while True:
            self._put_back_silent()
            every = self._all()
            counted = [trial for trial in every if self._counts(trial)]
            if self._over(counted):
                return None
            if len(counted) + sum(trial.state == self._state.RUNNING for trial in every) >= self.plan.trials:
                return "wait"
            request = self._ask(len(every))
            if request is not None:
                return request

    def _over(self, counted: Sequence[Any]) -> bool:
        """Whether enough was tried, or all there is, or nothing can be built, or time is up."""
        own = [trial for trial in counted if REPEATS not in trial.user_attrs]
        hopeless = len(own) >= FAILURES and all(trial.state == self._state.FAIL for trial in own)
        return (
            len(counted) >= self.plan.trials or len(own) >= self._values or hopeless or time.time() > self.plan.deadline
        )

    @property
    def finished(self) -> bool:
        """Whether no trial is left to start."""
        return self._over([trial for trial in self._all() if self._counts(trial)])

    def _ask(self, before: int) -> TrialRequest | None:
        """A new trial; None if it turned out to be one too many, or one that was done before, whose outcome it has."""
        with without_warnings():
            self.study.sampler = sampler(self.plan.kind, self.plan.seed, before, self.worker)
            trial = self.study.ask()
            self._open[trial.number] = trial
        with without_warnings():
            values = {dimension.name: suggested(trial, dimension) for dimension in self.dimensions}
        trial.set_user_attr(VALUES, values)
        trial.set_user_attr(ALIVE, time.time())
        others = [other for other in self._all() if other.number < trial.number]
        counted = [other for other in others if self._counts(other)]
        running = [other for other in others if other.state == self._state.RUNNING]
        if len(counted) + len(running) >= self.plan.trials:
            self._close(trial.number, state=self._state.FAIL)
            return None
        for other in counted:
            if other.user_attrs.get(VALUES) == values:
                self._repeat(trial, trial_of(other))
                return None
        full_training = self.fidelity.wants_full_training(values, running)
        if full_training:
            trial.set_user_attr(FULL_TRAINING, True)
        return TrialRequest(
            trial.number, values, self._best(counted), self.fidelity.largest_drop(counted), full_training
        )

    def _repeat(self, trial: Any, other: Trial) -> None:
        trial.set_user_attr(REPEATS, other.number)
        reason = f"as trial {other.number}" + (f": {other.reason}" if other.reason else "")
        if other.state == "failed":
            self.fail(trial.number, reason)
        elif other.state == "cut":
            self.cut(trial.number, other.figures, 0.0, reason)
        else:
            self.done(trial.number, other.figures, 0.0, reason)

    @signals_held()
    def done(
        self, number: int, figures: Figures, seconds: float, reason: str = "", full: Figures | None = None
    ) -> None:
        """A trial was measured; `full` after all of the training too."""
        assert figures.bytes is not None
        if full is not None:
            with self._unless_put_back():
                self._open[number].set_user_attr(FULL, full.to_json())
                self.fidelity.note(self._open[number].user_attrs[VALUES], figures, full)
        self._note(number, figures, seconds, reason)
        both = [float(figures.bytes), 100.0 if figures.drop is None else figures.drop]
        self._close(number, values=both if self.plan.kind == "pareto" else self._cost(both, figures))

    def _cost(self, both: Sequence[float], figures: Figures) -> float:
        """Bytes or points lost, made larger by what budgets are exceeded by, so that near misses are no bad ones."""
        above = total_excess(figures, self.fidelity.limits)
        if self.plan.smallest:
            return both[0] * math.exp(min(PENALTY * above, MOST_PENALTY))
        return both[1] + POINTS * above

    @signals_held()
    def cut(self, number: int, figures: Figures, seconds: float, reason: str) -> None:
        """A trial was given up."""
        value = figures.bytes if self.plan.smallest else figures.drop
        if value is not None and self.plan.kind != "pareto":
            with self._unless_put_back():
                self._open[number].report(float(value), 0)
        self._note(number, figures, seconds, reason)
        self._close(number, state=self._state.PRUNED)

    @signals_held()
    def fail(self, number: int, reason: str) -> None:
        """Nothing can be built from a trial's values."""
        self._note(number, Figures(), 0.0, reason)
        self._close(number, state=self._state.FAIL)

    @signals_held()
    def leave(self) -> None:
        """Leave the unfinished trials of this worker to others, or to another search of the same."""
        for number, trial in self._open.items():
            with self._unless_put_back():
                trial.set_user_attr(LEFT, True)
            self._put_back(next(other for other in self._all() if other.number == number), {})
        self._open.clear()

    def trials(self) -> list[Trial]:
        """All that are finished and count, in order."""
        return [trial_of(frozen) for frozen in self._all() if self._counts(frozen)]

    @contextlib.contextmanager
    def working(self, number: int) -> Iterator[None]:
        """Meanwhile, write every few seconds that the trial is worked on."""
        finished = threading.Event()

        def heartbeat() -> None:
            while not finished.wait(HEARTBEAT_SECONDS):
                self.heartbeat(number)

        thread = threading.Thread(target=heartbeat, daemon=True)
        if not self._in_memory:
            thread.start()
        try:
            yield
        finally:
            finished.set()
            if thread.is_alive():
                thread.join()

    def heartbeat(self, number: int) -> None:
        """Write that a trial is worked on now."""
        with self._unless_put_back():
            self._open[number].set_user_attr(ALIVE, time.time())

    def _put_back_silent(self) -> None:
        """Put back what has been silent for too long; what was put back before has failed then."""
        for frozen in [] if self._in_memory else self._all(self._state.RUNNING):
            began = frozen.datetime_start.timestamp() if frozen.datetime_start else 0.0
            if time.time() - frozen.user_attrs.get(ALIVE, began) > self.plan.silent_seconds:
                self._put_back(frozen, {AGAIN: frozen.number})

    def _put_back(self, frozen: Any, mark: dict[str, Any]) -> None:
        again = AGAIN in frozen.user_attrs
        if self._tell(frozen.number, state=self._state.FAIL) and frozen.params and not (mark and again):
            mark = {AGAIN: frozen.user_attrs[AGAIN]} if again else mark
            self.study.enqueue_trial(frozen.params, user_attrs=mark)

    def _all(self, *states: Any) -> list[Any]:
        return list(self.study.get_trials(deepcopy=False, states=states or None))

    def _counts(self, frozen: Any) -> bool:
        """Whether a trial is finished, and not one that was left or put back."""
        if frozen.state != self._state.FAIL:
            return frozen.state in (self._state.COMPLETE, self._state.PRUNED)
        return REASON in frozen.user_attrs or (AGAIN in frozen.user_attrs and LEFT not in frozen.user_attrs)

    def _best(self, counted: Sequence[Any]) -> int | None:
        """The size to be beaten, where the smallest is looked for: that of the last runner that met the budgets."""
        if not self.plan.smallest or self.plan.kind == "pareto":
            return None
        met = [
            t
            for t in map(trial_of, counted)
            if t.state == "done" and total_excess(t.figures, self.fidelity.limits) == 0
        ]
        sizes = sorted(trial.figures.bytes for trial in distinct(met) if trial.figures.bytes is not None)
        return sizes[RUNNERS - 1] if len(sizes) >= RUNNERS else None

    def _note(self, number: int, figures: Figures, seconds: float, reason: str) -> None:
        """Write down what came of a trial, and what the sampler needs to know of the budgets."""
        trial = self._open[number]
        with self._unless_put_back(), without_warnings():
            trial.set_user_attr(FIGURES, figures.to_json())
            trial.set_user_attr(SECONDS, seconds)
            if reason:
                trial.set_user_attr(REASON, reason)
            for name, share in excess(figures, self.fidelity.limits).items() if self.plan.kind == "pareto" else ():
                trial.set_constraint(name, share)

    def _unless_put_back(self) -> contextlib.AbstractContextManager[None]:
        """What is written to a trial that another worker has put back meanwhile is lost."""
        from optuna.exceptions import UpdateFinishedTrialError

        return contextlib.suppress(UpdateFinishedTrialError)

    def _close(self, number: int, values: Any = None, state: Any = None) -> None:
        """Finish a trial of one's own."""
        self._tell(number, values, state)
        del self._open[number]

    def _tell(self, number: int, values: Any = None, state: Any = None) -> bool:
        """Finish a trial; False if that was done before."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            with without_warnings():
                self.study.tell(number, values, state=state)
        except (ValueError, UpdateFinishedTrialError):  # "Cannot tell a ... trial"
            return False
        return True
