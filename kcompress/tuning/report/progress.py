"""What a search says while it goes on: a line for each trial."""

from collections.abc import Callable

from kcompress.run.options import Budgets
from kcompress.sizes import format_size
from kcompress.tuning.figures import total_excess
from kcompress.tuning.study import Study
from kcompress.tuning.trials import Trial


class TrialReporter:
    """Reports each finished trial once."""

    def __init__(self, study: Study, log: Callable[[str], None], advance: Callable[[int], None]) -> None:
        self._study, self._log, self._advance = study, log, advance
        self._reported: set[int] = set()

    def __call__(self) -> None:
        """Look for what is new."""
        for trial in self._study.trials():
            if trial.number not in self._reported:
                self._reported.add(trial.number)
                self._advance(1)
                self._log(line(trial, self._study.plan.limits, self._study.fidelity.limits))


def line(trial: Trial, limits: Budgets, trial_budgets: Budgets) -> str:
    """`trial 7: 45.2 KB, drop 0.75 points, meets the budgets`."""
    return f"trial {trial.number}: {', '.join(outcome(trial, limits, trial_budgets))}, {trial.seconds:.0f} s"


def outcome(trial: Trial, limits: Budgets, trial_budgets: Budgets) -> list[str]:
    """What came of a trial, in pieces; `trial_budgets` are the budgets for what is left to train."""
    figures, found = trial.figures, []
    if trial.state == "failed":
        return [f"failed: {trial.reason}"]
    if figures.bytes is not None:
        found.append(format_size(figures.bytes))
    if figures.drop is not None:
        full = trial.full if trial.full != figures else None  # the same where nothing trains
        after = "" if full is None or full.drop is None else f" ({full.drop:.2f} with all training)"
        found.append(f"drop {figures.drop:.2f}{after}")
    if trial.state == "cut":
        return [*found, f"given up: {trial.reason}"]
    if limits.any:
        likely = "may meet the budgets" if total_excess(figures, trial_budgets) == 0 else "over budget"
        found.append("meets the budgets" if total_excess(figures, limits) == 0 else likely)
    return [*found, trial.reason] if trial.reason else found
