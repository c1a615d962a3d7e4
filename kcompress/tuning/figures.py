"""What is known of a candidate, and how far it is from the budgets."""

from dataclasses import asdict, dataclass
from typing import Any

from kcompress.measure.quality import Quality
from kcompress.run.options import Budgets


@dataclass(frozen=True)
class Figures:
    """Measured on the candidate's file and on validation data; None for what was not measured.

    `drop` is in points; without labels it is 100 · (1 − agreement). `missed` are goals of passes that were not reached.
    """

    bytes: int | None = None
    drop: float | None = None
    ci95: tuple[float, float] | None = None
    agreement: float | None = None
    macs: int | None = None
    latency_ms: float | None = None
    missed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def drop_of(quality: Quality) -> float | None:
    """Points lost: the drop of the metric, or without labels the share of samples that come out otherwise."""
    if quality.drop is not None or quality.agreement is None:
        return quality.drop
    return 100 * (1 - quality.agreement)


def excess(figures: Figures, limits: Budgets) -> dict[str, float]:
    """How far each budget is exceeded, as a share of it: at most 0 where it is met; those not measured are left out."""
    measured = {
        "max_drop": figures.drop,
        "max_size": figures.bytes,
        "max_latency": figures.latency_ms,
        "max_macs": figures.macs,
    }
    found = {}
    for name, limit in limits.limits.items():
        value = measured[name]
        if value is not None:
            found[name] = (value - limit) / (limit or 1)
    if figures.missed:
        found["goals"] = float(len(figures.missed))
    return found


def total_excess(figures: Figures, limits: Budgets) -> float:
    """All that budgets are exceeded by, as shares of them; 0 where all are met."""
    return sum(max(0.0, share) for share in excess(figures, limits).values())
