"""Size against drop: every trial, those that no other beats joined by a line, the winner, and the budgets."""

from typing import TYPE_CHECKING, Any

from kcompress.report import plot
from kcompress.tuning.choice import distinct

if TYPE_CHECKING:
    from kcompress.tuning.report.report import SearchReport

WIDTH, HEIGHT = 7.0, 4.5
"""Inches."""
KB = 1000
GREY, BLUE, RED = "#9aa0a6", "#1a62b3", "#b00020"


def scatter(report: "SearchReport") -> Any:
    """A Figure of Matplotlib's."""
    drawn = plot.figure(WIDTH, HEIGHT)
    axes = drawn.subplots()
    measured = [(t.figures.bytes, t.figures.drop) for t in distinct(report.trials)]
    known = [(size / KB, drop) for size, drop in measured if size is not None and drop is not None]
    best = [(t.figures.bytes, t.figures.drop) for t in report.pareto_front]
    line = [(size / KB, drop) for size, drop in best if size is not None and drop is not None]
    if known:
        axes.scatter(*zip(*known, strict=True), s=18, color=GREY, label="trials")
    if line:
        axes.plot(
            *zip(*line, strict=True), "o-", drawstyle="steps-post", color=BLUE, markersize=4, label="Pareto front"
        )
    winner = report.rebuilt[-1].figures
    if winner.bytes is not None and winner.drop is not None:
        axes.scatter(
            [winner.bytes / KB], [winner.drop], s=130, marker="*", color=RED, label="winner, rebuilt", zorder=3
        )
    if report.limits.max_drop is not None:
        axes.axhline(report.limits.max_drop, color=RED, linewidth=0.8, linestyle="--")
    if report.limits.max_size is not None:
        axes.axvline(report.limits.max_size / KB, color=RED, linewidth=0.8, linestyle="--")
    axes.set_xlabel("file, KB")
    axes.set_ylabel("drop, points")
    axes.legend(frameon=False)
    return drawn
