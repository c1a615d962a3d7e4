"""What the drop of a trial says about the drop of the final file.

Two things make a trial look worse. It gets only a share of the training; so one trial gets all of it too, and other
trials may miss the budget by as many points as that one won back. And it is judged on data that the source may know by
heart, where every candidate seems to lose; so the loss of the mildest candidate (the bias) counts as none. Rebuilding
has to prove both.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kcompress.run.options import Budgets
from kcompress.tuning.figures import Figures
from kcompress.tuning.marks import Value
from kcompress.tuning.trials import BIAS, DROPS, FULL_TRAINING, VALUES, StudySettings


class ReferenceDrops(NamedTuple):
    """The drops of one trial in points: after a share of the training, and after all of it."""

    short: float
    full: float


def unbiased_budgets(limits: Budgets, bias: float) -> Budgets:
    """Budgets that allow `bias` more points of drop, which count as no loss."""
    return limits if limits.max_drop is None else limits.but(max_drop=limits.max_drop + bias)


def budgets_for_trials(limits: Budgets, drops: ReferenceDrops | None, bias: float = 0.0) -> Budgets:
    """Budgets for trials, which more training will improve.

    A trial is expected to win back as many points as the measured one, or the same share of its drop: the lesser one.
    """
    limit = limits.max_drop
    if limit is None or drops is None:
        return unbiased_budgets(limits, bias)
    room, left = limit + drops.short - drops.full, drops.full - bias
    if left > 0:
        room = min(room, limit * (drops.short - bias) / left)
    return unbiased_budgets(limits.but(max_drop=max(limit, room)), bias)


class Fidelity:
    """What is known of other trials from those that had all of the training."""

    def __init__(self, study: Any, plan: StudySettings) -> None:
        self._study, self._plan = study, plan

    @property
    def limits(self) -> Budgets:
        """The budgets for trials, which more training will improve."""
        return budgets_for_trials(self._plan.limits, self._drops, self._bias or 0.0)

    @property
    def unbiased_budgets(self) -> Budgets:
        """The budgets, raised by the points that count as no loss."""
        return unbiased_budgets(self._plan.limits, self._bias or 0.0)

    @property
    def cautious_budgets(self) -> Budgets:
        """The budgets for trials if no points counted as no loss."""
        return budgets_for_trials(self._plan.limits, self._drops)

    def wants_full_training(self, values: Mapping[str, Value], running: Sequence[Any]) -> bool:
        """Whether a trial is to get all of the training too: one of the mildest values, and the first other one."""
        if values == self._plan.mildest:
            return self._bias is None
        others = (t.user_attrs for t in running if t.user_attrs.get(VALUES) != self._plan.mildest)
        return self._plan.fidelity and self._drops is None and not any(FULL_TRAINING in other for other in others)

    def largest_drop(self, counted: Sequence[Any]) -> float | None:
        """What a trial may lose; infinity as long as that is not known."""
        biased = self._plan.mildest is not None and all(t.user_attrs.get(VALUES) != self._plan.mildest for t in counted)
        return math.inf if biased or (self._plan.fidelity and self._drops is None) else self.limits.max_drop

    def note(self, values: Mapping[str, Value], short: Figures, full: Figures) -> None:
        """Write down what a trial lost after a share of the training and after all of it."""
        if short.drop is None or full.drop is None:
            return
        if values == self._plan.mildest:
            self._study.set_user_attr(BIAS, max(0.0, full.drop))
        elif self._drops is None:
            self._study.set_user_attr(DROPS, ReferenceDrops(short.drop, full.drop))

    @property
    def _drops(self) -> ReferenceDrops | None:
        found = self._study.user_attrs.get(DROPS)
        return None if found is None else ReferenceDrops(*found)

    @property
    def _bias(self) -> float | None:
        found: float | None = self._study.user_attrs.get(BIAS)
        return found
