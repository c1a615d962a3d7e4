"""The end of a search: candidates are rebuilt with all of the training, and judged by the file and the test data.

That is the same run as `kcompress compress` with the recipe that was found, so it makes the same file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kcompress.budgets import Limits, judge
from kcompress.publish import partial
from kcompress.report import Report
from kcompress.search.choice import front
from kcompress.search.figures import Figures, drop_of, over
from kcompress.search.trials import Trial

MOST = 4
"""Candidates that are rebuilt."""
Compress = Callable[[list[dict[str, Any]], Path], Report]
"""Runs steps and writes a file."""


@dataclass(frozen=True)
class Order:
    """In what order candidates are rebuilt: the most promising first.

    `fair` are the budgets for trials without the points that were taken for no loss, `safe` the most promising
    candidate if none had been.
    """

    candidates: Sequence[Trial]
    fair: Limits
    safe: Trial


@dataclass(frozen=True)
class Rebuilt:
    """A candidate at full effort: its trial, its steps, what was measured on it, and the file, not yet in its place."""

    trial: Trial
    steps: list[dict[str, Any]]
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
    order: Order,
    limits: Limits,
    output: Path,
    steps_of: Callable[[Trial], list[dict[str, Any]]],
    compress: Compress,
) -> list[Rebuilt]:
    """Rebuild candidates until one meets the budgets, a few at most; that one, or the closest, is the last entry."""
    found: list[Rebuilt] = []
    left = list(order.candidates)
    try:
        while left and len(found) < MOST:
            trial = left.pop(following(left, found, limits, order))
            draft = partial(output.with_stem(f"{output.stem}.{len(found) + 1}"))
            steps = steps_of(trial)
            report = compress(steps, draft)
            found.append(Rebuilt(trial, steps, judged(report, limits, output), draft))
            if found[-1].met:
                break
    except BaseException:
        discard(found)
        raise
    if not found[-1].met:
        found.sort(key=lambda each: over(each.figures, limits), reverse=True)
    return found


def following(left: Sequence[Trial], found: Sequence[Rebuilt], limits: Limits, order: Order) -> int:
    """The place of the candidate to rebuild next.

    That is the first one, until one misses the drop. Then it is one of a size in the middle between the largest that
    missed and the smallest that has met the budgets; the last one that may be rebuilt is the safe one, or the latter.
    """
    missed = [each for each in found if limits.max_drop is not None and (each.figures.drop or 0.0) > limits.max_drop]
    if not missed:
        return 0
    last = len(found) == MOST - 1
    if last and order.safe in left:
        return left.index(order.safe)
    low = max(_size(each.trial) for each in missed)
    larger = [trial for trial in left if _size(trial) > low]
    sure = min((t for t in larger if over(t.full or t.figures, order.fair) == 0), key=_size, default=None)
    between = front([trial for trial in larger if sure is None or _size(trial) < _size(sure)])
    if sure is not None and (not between or last):
        return left.index(sure)
    middle = low if sure is None else (low + _size(sure)) / 2
    nearest = min(between, key=lambda trial: abs(_size(trial) - middle), default=left[0])
    return left.index(nearest)


def _size(trial: Trial) -> int:
    return trial.figures.bytes or 0


def judged(report: Report, limits: Limits, output: Path) -> Report:
    """The report of the file at its place, held to the budgets; without labels, the drop is one of agreement."""
    measured = replace(report, quality=replace(report.quality, drop=drop_of(report.quality)))
    return replace(report, budgets=judge(limits, measured), artifact=replace(report.artifact, path=str(output)))


def discard(found: Sequence[Rebuilt]) -> None:
    """Remove the files that were not put in their place."""
    for each in found:
        each.draft.unlink(missing_ok=True)
