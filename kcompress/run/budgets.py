"""What a run is held to: limits on quality and size, and strictness; read before it, judged after it."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from kcompress.errors import StrictError, UsageError
from kcompress.formats import Written
from kcompress.report import Budget, PassRecord, Report
from kcompress.sizes import parse_size

COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_COUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([kmg]?)")


@dataclass(frozen=True)
class Limits:
    """Budgets: `max_drop` in points, `max_size` in bytes, `max_latency` in ms for one sample, at the median, `max_macs`
    in multiply-adds; None where there is none."""

    max_drop: float | None = None
    max_size: int | None = None
    max_latency: float | None = None
    max_macs: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return self != Limits()


def limits(
    max_drop: float | None,
    max_size: int | str | None,
    max_latency: float | None = None,
    max_macs: int | str | None = None,
) -> Limits:
    """Validate budgets; a size may be a text such as `250KB`, multiply-adds one such as `5M`."""
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise UsageError(f"--max-drop {max_drop:g} is not in [0, 100]; give the points that may be lost, such as 1.0")
    if isinstance(max_size, str):
        max_size = parse_size(max_size)
    if max_size is not None and max_size < 1:
        raise UsageError(f"--max-size {max_size} is not positive; give a size, such as 250KB")
    if max_latency is not None and not 0 < max_latency < math.inf:
        raise UsageError(f"--max-latency {max_latency:g} is not positive; give milliseconds for a sample, such as 2.5")
    return Limits(max_drop, max_size, max_latency, None if max_macs is None else _macs(max_macs))


def _macs(given: int | str) -> int:
    """A number of multiply-adds from 1; `5M` is five million."""
    match = _COUNT.fullmatch(str(given).strip().lower())
    count = int(float(match[1]) * COUNTS[match[2]]) if match else 0
    if count < 1:
        raise UsageError(f"--max-macs {given} is no number of multiply-adds; give one, such as 5M or 250000")
    return count


def judge(budget: Limits, report: Report) -> tuple[Budget, ...]:
    """What was measured, against each limit that was given, to a pass or to the run."""
    measured = {
        "max_drop": report.quality.drop,
        "max_size": report.artifact.bytes,
        "max_latency": report.artifact.latency_ms["p50"],
        "max_macs": report.macs,
    }
    asked = {name: limit for name, limit in asdict(budget).items() if limit is not None}
    of_passes = [reached for record in report.passes for reached in record.budgets]
    return (*of_passes, *(Budget(name, limit, measured[name]) for name, limit in asked.items()))


def hold_to_strict(records: Sequence[PassRecord], float_layers: Sequence[str], written: Written) -> None:
    """StrictError naming the first goal missed, layer that a pass left alone unasked, or what the file can't do."""
    for record in records:
        for budget in record.budgets:
            if not budget.met:
                known = budget.measured is not None
                closest = f"the closest is {budget.measured:.4g}: " if known else ""
                advice = "give that or more" if known else "leave the pass out"
                raise StrictError(
                    f"--strict: {budget.name}={budget.limit:g} can't be met; {closest}{budget.detail}; {advice}"
                )
        for entry in record.skipped:
            if entry["layer"] in record.declined:
                raise StrictError(f"--strict: {record.name} left {entry['layer']} alone: {entry['reason']}")
    if float_layers:
        raise StrictError(f"--strict: left in float in the file: {', '.join(float_layers)}; skip them in the recipe")
    if written.float_operators:
        raise StrictError(f"--strict: {written.remarks[-1]}; skip what they come from, or do without --strict")
