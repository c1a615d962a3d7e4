"""The end of a search: the best candidates are built with all of the training, and measured on the test data.

That is the same run as `kcompress compress` with the recipe that was found, so it makes the same file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kcompress.files import draft_of
from kcompress.report import Report
from kcompress.run.budgets import judge
from kcompress.run.options import Budgets
from kcompress.tuning.choice import pareto_front
from kcompress.tuning.figures import Figures, drop_of, total_excess
from kcompress.tuning.trials import Trial

MOST = 4
"""Candidates that are rebuilt."""
Compress = Callable[[list[dict[str, Any]], Path], Report]
"""Applies the entries of a recipe and writes a file."""


@dataclass(frozen=True)
class RebuildOrder:
    """In what order candidates are rebuilt: the most promising first.

    `unbiased_budgets` are the budgets for trials without the points that were taken for no loss; `safe` is the most
    promising candidate if none had been.
    """

    candidates: Sequence[Trial]
    unbiased_budgets: Budgets
    safe: Trial


@dataclass(frozen=True)
class RebuiltCandidate:
    """A candidate after all of the training: its trial, recipe, figures, and the file, not yet in its place."""

    trial: Trial
    entries: list[dict[str, Any]]
    report: Report
    draft: Path

    @property
    def figures(self) -> Figures:
        artifact, quality = self.report.artifact, self.report.quality
        missed = tuple(budget.name for record in self.report.passes for budget in record.budgets if not budget.met)
        return Figures(
            artifact.bytes,
            drop_of(quality),
            quality.ci95,
            quality.agreement,
            self.report.macs,
            artifact.latency_ms["p50"],
            missed,
        )

    @property
    def met(self) -> bool:
        return self.report.exit_code == 0

    def to_json(self) -> dict[str, Any]:
        return {"trial": self.trial.number, "met": self.met, "figures": self.figures.to_json()}


def rebuild(
    order: RebuildOrder,
    limits: Budgets,
    output: Path,
    entries_of: Callable[[Trial], list[dict[str, Any]]],
    compress: Compress,
) -> list[RebuiltCandidate]:
    """Rebuild candidates until one meets the budgets and smaller ones may not, a few at most.

    The last entry is the smallest that met them, or the closest.
    """
    found: list[RebuiltCandidate] = []
    left = list(order.candidates)
    try:
        while len(found) < MOST and (place := next_candidate(left, found, limits, order)) is not None:
            trial = left.pop(place)
            draft = draft_of(output)
            entries = entries_of(trial)
            report = compress(entries, draft)
            found.append(RebuiltCandidate(trial, entries, judged(report, limits, output), draft))
    except BaseException:
        discard(found)
        raise
    return sorted(
        found, key=lambda each: (each.met, -(_written(each) if each.met else total_excess(each.figures, limits)))
    )


def next_candidate(
    left: Sequence[Trial], found: Sequence[RebuiltCandidate], limits: Budgets, order: RebuildOrder
) -> int | None:
    """The place of the candidate to rebuild next, None where there is none.

    That is the first one. After one that missed the drop it is a larger one, after one that surely met it, that is with
    all of its interval, a smaller one.
    """
    if not left or (found and found[-1].met and not _surely_met(found[-1], limits)):
        return None
    missed = [each for each in found if limits.max_drop is not None and (each.figures.drop or 0.0) > limits.max_drop]
    met = min((each for each in found if each.met), key=lambda each: _size(each.trial), default=None)
    low = max((_size(each.trial) for each in missed), default=0)
    if met is not None:
        return _smaller(left, low, met, limits)
    return _larger(left, low, len(found) == MOST - 1, order) if missed else 0


def _surely_met(each: RebuiltCandidate, limits: Budgets) -> bool:
    """Whether a budget for the drop is met by all of its interval."""
    interval = each.figures.ci95
    return limits.max_drop is not None and interval is not None and interval[1] < limits.max_drop


def _smaller(left: Sequence[Trial], low: int, met: RebuiltCandidate, limits: Budgets) -> int | None:
    """One of a size in the middle between what missed and what met the budgets.

    It has to meet them if rebuilding gives it back as many points as it did the other.
    """
    back = (met.trial.figures.drop or 0.0) - (met.figures.drop or 0.0)

    def may_meet(trial: Trial) -> bool:
        drop = trial.figures.drop
        return total_excess(replace(trial.figures, drop=None if drop is None else drop - back), limits) == 0

    between = pareto_front([trial for trial in left if low < _size(trial) < _size(met.trial) and may_meet(trial)])
    return _nearest(left, between, ((low or min(map(_size, between), default=0)) + _size(met.trial)) / 2)


def _larger(left: Sequence[Trial], low: int, last: bool, order: RebuildOrder) -> int:
    """One of a size in the middle between what missed and what met the budgets as a trial.

    The last one that may be rebuilt is the safe one, or the latter.
    """
    if last and order.safe in left:
        return left.index(order.safe)
    larger = [trial for trial in left if _size(trial) > low]
    sure = min(
        (t for t in larger if total_excess(t.full or t.figures, order.unbiased_budgets) == 0), key=_size, default=None
    )
    between = pareto_front([trial for trial in larger if sure is None or _size(trial) < _size(sure)])
    if sure is not None and (not between or last):
        return left.index(sure)
    place = _nearest(left, between, low if sure is None else (low + _size(sure)) / 2)
    return 0 if place is None else place


def _nearest(left: Sequence[Trial], some: Sequence[Trial], size: float) -> int | None:
    """The place of the one among some whose size is nearest."""
    nearest = min(some, key=lambda trial: abs(_size(trial) - size), default=None)
    return None if nearest is None else left.index(nearest)


def _written(each: RebuiltCandidate) -> int:
    return each.figures.bytes or 0


def _size(trial: Trial) -> int:
    return trial.figures.bytes or 0


def judged(report: Report, limits: Budgets, output: Path) -> Report:
    """The report of the file at its place, held to the budgets; without labels, the drop is one of agreement."""
    measured = replace(report, quality=replace(report.quality, drop=drop_of(report.quality)))
    return replace(report, budgets=judge(limits, measured), artifact=replace(report.artifact, path=str(output)))


def discard(found: Sequence[RebuiltCandidate]) -> None:
    """Remove the files that were not put in their place."""
    for each in found:
        each.draft.unlink(missing_ok=True)
