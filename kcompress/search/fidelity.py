"""What the drop of a trial, after a share of the training, says of the drop after all of it.

One trial is measured after both. What more training gave it back, others may be above the budget by.
"""

from collections.abc import Sequence
from dataclasses import replace

from kcompress.budgets import Limits


def raised(limits: Limits, gauge: Sequence[float] | None) -> Limits:
    """Budgets for trials: `gauge` has the drops of one trial after a share of the training and after all of it.

    Others gain as many points or as large a share of their drop, whichever is less.
    """
    limit = limits.max_drop
    if limit is None or gauge is None:
        return limits
    short, full = gauge
    room = limit + short - full
    if full > 0:
        room = min(room, limit * short / full)
    return replace(limits, max_drop=max(limit, room))
