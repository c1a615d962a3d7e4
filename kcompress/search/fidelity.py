"""What the drop of a trial says of the drop that counts in the end.

Trials get a share of the training, so one of them is measured after all of it too: what that gives back, others may be
above the budget by. And they are judged on data that the source may know by heart, where whatever is made of it seems
to lose: what even the mildest candidate loses there is taken for no loss, which rebuilding has to prove.
"""

from dataclasses import replace
from typing import NamedTuple

from kcompress.budgets import Limits


class Gauge(NamedTuple):
    """The drops of one trial, after a share of the training and after all of it."""

    short: float
    full: float


def fair(limits: Limits, bias: float) -> Limits:
    """Budgets for trials, without so many points that are taken for no loss."""
    return limits if limits.max_drop is None else replace(limits, max_drop=limits.max_drop + bias)


def raised(limits: Limits, gauge: Gauge | None, bias: float = 0.0) -> Limits:
    """Budgets for trials, which more training will do something for.

    Others gain as many points as the one that was gauged, or as large a share of their drop, whichever is less.
    """
    limit = limits.max_drop
    if limit is None or gauge is None:
        return fair(limits, bias)
    room, left = limit + gauge.short - gauge.full, gauge.full - bias
    if left > 0:
        room = min(room, limit * (gauge.short - bias) / left)
    return fair(replace(limits, max_drop=max(limit, room)), bias)
