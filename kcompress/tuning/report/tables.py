"""What a search found as tables of text and remarks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kcompress.report import run_tables
from kcompress.report.table import NONE, Table, count, interval
from kcompress.tuning.figures import excess
from kcompress.tuning.report.progress import outcome
from kcompress.tuning.trials import Trial

if TYPE_CHECKING:
    from kcompress.tuning.report.report import SearchReport


def tables(report: "SearchReport") -> list[Table]:
    """The winner, what was rebuilt, the trials that no other beats, what mattered, and in files all trials."""
    found = [
        run_tables.comparison(report.winner),
        _rebuilt(report),
        _trials("Pareto front of the trials", report, report.pareto_front),
    ]
    if report.importances:
        found.append(_importances(report))
    return [*found, replace(_trials("Trials", report, report.trials), shown=0)]


def _rebuilt(report: "SearchReport") -> Table:
    lines = []
    for each in report.rebuilt:
        figures = each.figures
        drop = NONE if figures.drop is None else f"{figures.drop:.2f}{interval(figures.ci95)}"
        met = "met" if each.met else "NOT MET"
        lines.append((str(each.trial.number), count(figures.bytes), drop, count(figures.macs), met))
    header = ("rebuilt with all training", "bytes", "drop on test data (95 %)", "MACs", "budgets")
    return Table("Rebuilt", header, tuple(lines))


def _trials(title: str, report: "SearchReport", trials: Sequence[Trial]) -> Table:
    names = list(dict.fromkeys(name for trial in report.trials for name in trial.values))
    lines = []
    for trial in trials:
        figures = trial.figures
        lines.append(
            (
                str(trial.number),
                count(figures.bytes),
                NONE if figures.drop is None else f"{figures.drop:.2f}",
                count(figures.macs),
                *(str(trial.values.get(name, NONE)) for name in names),
                outcome(trial, report.limits, report.trial_budgets)[-1]
                if trial.state != "done" or report.limits.any
                else "",
                f"{trial.seconds:.0f}",
            )
        )
    header = ("trial", "bytes", "drop", "MACs", *names, "outcome", "seconds")
    return Table(title, header, tuple(lines))


def _importances(report: "SearchReport") -> Table:
    names = list(dict.fromkeys(name for shares in report.importances.values() for name in shares))
    names.sort(key=lambda name: -max(shares.get(name, 0.0) for shares in report.importances.values()))
    lines = [
        (name, *(f"{shares[name]:.2f}" if name in shares else NONE for shares in report.importances.values()))
        for name in names
    ]
    return Table(
        "What mattered, as shares", ("searched", *(f"for {name}" for name in report.importances)), tuple(lines)
    )


def remarks(report: "SearchReport") -> list[str]:
    """Lines below the tables: groups, budgets, the recipe, what the trials' figures are."""
    lines = []
    for name, groups in report.groups.items():
        if len(groups) > 1:
            lines += [f"{name}[{number}] is for {', '.join(group)}" for number, group in enumerate(groups, 1)]
    lines += [
        *_full_training(report),
        *report.notes,
        *run_tables.remarks(report.winner),
    ]
    if report.exit_code:
        worst = excess(report.rebuilt[-1].figures, report.limits)
        name = max(worst, key=lambda each: worst[each])
        lines.append(
            f"nothing that was tried meets all budgets; this is the closest, {100 * worst[name]:.0f} % above "
            f"--{name.replace('_', '-')}"
        )
    lines.append(f"recipe: {report.recipe_path}, of trial {report.trial}")
    return lines


def _full_training(report: "SearchReport") -> list[str]:
    """What trials with all of the training say of the others."""
    if report.trial_budgets == report.limits:
        return []
    lost = []
    for trial in report.trials:
        if trial.full is not None:
            before = "" if trial.full == trial.figures else f" in place of {trial.figures.drop:.2f}"
            lost.append(f"trial {trial.number} lost {trial.full.drop:.2f}{before}")
    known = ""
    if report.unbiased_budgets != report.limits:
        known = ", for what the mildest candidate lost is taken for what the source knows by heart"
    least = f"others with a drop of up to {report.trial_budgets.max_drop:.2f} may meet the budget"
    return [f"with all of the training {' and '.join(lost)}; {least}{known}"]
