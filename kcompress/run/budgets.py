"""What was measured, against what the run is held to: budgets, and strictness."""

from collections.abc import Sequence

from kcompress.errors import StrictError
from kcompress.formats import Written
from kcompress.report import Budget, PassRecord, Report
from kcompress.run.measure import float_layers
from kcompress.run.options import Budgets


def judge(budgets: Budgets, report: Report) -> tuple[Budget, ...]:
    """What was measured, against each limit that was given, to a pass or to the run."""
    measured = {
        "max_drop": report.quality.drop,
        "max_size": report.artifact.bytes,
        "max_latency": report.artifact.latency_ms["p50"],
        "max_macs": report.macs,
    }
    of_passes = [reached for record in report.passes for reached in record.budgets]
    return (*of_passes, *(Budget(name, limit, measured[name]) for name, limit in budgets.limits.items()))


def hold_to_strict(records: Sequence[PassRecord], written: Written) -> None:
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
    if layers := float_layers(written):
        raise StrictError(f"--strict: left in float in the file: {', '.join(layers)}; skip them in the recipe")
    if written.float_operators:
        raise StrictError(f"--strict: {written.remarks[-1]}; skip what they come from, or do without --strict")
