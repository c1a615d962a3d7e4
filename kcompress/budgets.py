"""What a run is held to: limits on quality and size, and strictness; read before it, judged after it."""

from collections.abc import Sequence
from dataclasses import dataclass

from kcompress.errors import StrictError, UsageError
from kcompress.formats import Written
from kcompress.report import Budget, PassRecord, Report
from kcompress.sizes import parse_size


@dataclass(frozen=True)
class Limits:
    """Budgets: `max_drop` in points, `max_size` in bytes; None where there is none."""

    max_drop: float | None = None
    max_size: int | None = None


def limits(max_drop: float | None, max_size: int | str | None) -> Limits:
    """Validate budgets; a size may be a text such as `250KB`."""
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise UsageError(f"--max-drop {max_drop:g} is not in [0, 100]; give the points that may be lost, such as 1.0")
    if isinstance(max_size, str):
        max_size = parse_size(max_size)
    if max_size is not None and max_size < 1:
        raise UsageError(f"--max-size {max_size} is not positive; give a size, such as 250KB")
    return Limits(max_drop, max_size)


def judge(budget: Limits, report: Report) -> tuple[Budget, ...]:
    """What was measured, against each limit that was given, to a pass or to the run."""
    found = [reached for record in report.passes for reached in record.budgets]
    if budget.max_drop is not None:
        found.append(Budget("max_drop", budget.max_drop, report.quality.drop))
    if budget.max_size is not None:
        found.append(Budget("max_size", budget.max_size, report.artifact.bytes))
    return tuple(found)


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
