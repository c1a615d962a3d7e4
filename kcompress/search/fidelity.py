"""What the drop of a trial says of the drop that counts in the end.

Trials get a share of the training, so one of them is measured after all of it too: what that gives back, others may be
above the budget by. And they are judged on data that the source may know by heart, where whatever is made of it seems
to lose: what even the mildest candidate loses there is taken for no loss, which rebuilding has to prove.
"""

from dataclasses import replace
from typing import NamedTuple

from kcompress.budgets import Limits


class Gauge(NamedTuple):
    """The drops of one trial, after a share of the training and after all of it; whether these should be nothing."""

    short: float
    full: float
    harmless: bool = False

    @property
    def bias(self) -> float:
        """The points that are taken for no loss."""
        return max(0.0, self.full) if self.harmless else 0.0


def fair(limits: Limits, gauge: Gauge | None) -> Limits:
    """Budgets for trials, without the points that are no loss."""
    if limits.max_drop is None or gauge is None:
        return limits
    return replace(limits, max_drop=limits.max_drop + gauge.bias)


def raised(limits: Limits, gauge: Gauge | None) -> Limits:
    """Budgets for trials, which more training will do something for.

    Others gain as many points as the one that was gauged, or as large a share of their drop, whichever is less.
    """
    limit = limits.max_drop
    if limit is None or gauge is None:
        return limits
    short, full = gauge.short - gauge.bias, gauge.full - gauge.bias
    room = limit + short - full
    if full > 0:
        room = min(room, limit * short / full)
    return fair(replace(limits, max_drop=max(limit, room)), gauge)
