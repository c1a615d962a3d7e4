"""What the drop of a trial says of the drop that counts in the end.

Trials get a share of the training, so one of them is measured after all of it too: what that gives back, others may be
above the budget by. And they are judged on data that the source may know by heart, where whatever is made of it seems
to lose: what even the mildest candidate loses there is taken for no loss, which rebuilding has to prove.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kcompress.run.options import Budgets
from kcompress.tuning.figures import Figures
from kcompress.tuning.marks import Value
from kcompress.tuning.trials import BIAS, GAUGE, VALUES, WHOLE, Plan


class Gauge(NamedTuple):
    """The drops of one trial, after a share of the training and after all of it."""

    short: float
    full: float


def fair(limits: Budgets, bias: float) -> Budgets:
    """Budgets for trials, without so many points that are taken for no loss."""
    return limits if limits.max_drop is None else limits.but(max_drop=limits.max_drop + bias)


def raised(limits: Budgets, gauge: Gauge | None, bias: float = 0.0) -> Budgets:
    """Budgets for trials, which more training will do something for.

    Others gain as many points as the one that was gauged, or as large a share of their drop, whichever is less.
    """
    limit = limits.max_drop
    if limit is None or gauge is None:
        return fair(limits, bias)
    room, left = limit + gauge.short - gauge.full, gauge.full - bias
    if left > 0:
        room = min(room, limit * (gauge.short - bias) / left)
    return fair(limits.but(max_drop=max(limit, room)), bias)


class Gauged:
    """What the trials of a study that had all of the training tell of the others."""

    def __init__(self, study: Any, plan: Plan) -> None:
        self._study, self._plan = study, plan

    @property
    def limits(self) -> Budgets:
        """The budgets for trials, which more training will do something for."""
        return raised(self._plan.limits, self._gauge, self._bias or 0.0)

    @property
    def fair(self) -> Budgets:
        """The budgets for trials, without the points that are taken for no loss."""
        return fair(self._plan.limits, self._bias or 0.0)

    @property
    def doubting(self) -> Budgets:
        """The budgets for trials if no points were taken for no loss."""
        return raised(self._plan.limits, self._gauge)

    def asks(self, values: Mapping[str, Value], running: Sequence[Any]) -> bool:
        """Whether a trial is to get all of the training too: one of the mildest values, and the first other one."""
        if values == self._plan.mildest:
            return self._bias is None
        others = (t.user_attrs for t in running if t.user_attrs.get(VALUES) != self._plan.mildest)
        return self._plan.gauged and self._gauge is None and not any(WHOLE in other for other in others)

    def enough(self, counted: Sequence[Any]) -> float | None:
        """What a trial may lose; infinity as long as that is not known."""
        biased = self._plan.mildest is not None and all(t.user_attrs.get(VALUES) != self._plan.mildest for t in counted)
        return math.inf if biased or (self._plan.gauged and self._gauge is None) else self.limits.max_drop

    def note(self, values: Mapping[str, Value], short: Figures, full: Figures) -> None:
        """Write down what a trial lost after a share of the training and after all of it."""
        if short.drop is None or full.drop is None:
            return
        if values == self._plan.mildest:
            self._study.set_user_attr(BIAS, max(0.0, full.drop))
        elif self._gauge is None:
            self._study.set_user_attr(GAUGE, Gauge(short.drop, full.drop))

    @property
    def _gauge(self) -> Gauge | None:
        found = self._study.user_attrs.get(GAUGE)
        return None if found is None else Gauge(*found)

    @property
    def _bias(self) -> float | None:
        found: float | None = self._study.user_attrs.get(BIAS)
        return found
