"""Which trials are worth a rebuild: those that met the budgets, the best first, then those that came closest."""

from collections.abc import Sequence

from kcompress.run.options import Budgets
from kcompress.tuning.figures import Figures, total_excess
from kcompress.tuning.trials import Trial


def distinct(trials: Sequence[Trial]) -> list[Trial]:
    """Those that were measured, each once."""
    found: list[Trial] = []
    for trial in trials:
        if trial.state == "done" and all(trial.values != other.values for other in found):
            found.append(trial)
    return found


def ranked(trials: Sequence[Trial], limits: Budgets, smallest: bool) -> list[Trial]:
    """Measured trials, the best first: without a budget, those that are best in size and drop together."""
    measured = distinct(trials)
    if not limits.any:
        order = [trial.number for trial in by_distance(pareto_front(measured))]
        rest = len(order)
        return sorted(measured, key=lambda t: (order.index(t.number) if t.number in order else rest, t.number))
    return sorted(
        measured, key=lambda t: (total_excess(t.figures, limits), *_both(t.figures)[:: 1 if smallest else -1], t.number)
    )


def why_none(trials: Sequence[Trial]) -> str:
    """Why there is nothing to rebuild."""
    for state in ("cut", "failed"):
        reasons = [trial.reason for trial in trials if trial.state == state]
        if reasons:
            verb = "was given up" if state == "cut" else "can't be built"
            return f"all {len(trials)} candidates failed; the last one {verb}: {reasons[-1]}"
    return "no candidate was tried in the time given; give more with --timeout"


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """The measured trials that no other beats in both size and drop, the smallest first."""
    best: list[Trial] = []
    for trial in sorted(distinct(trials), key=lambda t: (*_both(t.figures), t.number)):
        if not best or _both(trial.figures)[1] < _both(best[-1].figures)[1]:
            best.append(trial)
    return best


def by_distance(best: Sequence[Trial]) -> list[Trial]:
    """A front in order of the distance to the least size and drop there are on it, both scaled to 0 to 1."""
    if not best:
        return []
    sizes, drops = zip(*(_both(trial.figures) for trial in best), strict=True)

    def share(value: float, all_values: Sequence[float]) -> float:
        return (value - min(all_values)) / ((max(all_values) - min(all_values)) or 1)

    def distance(trial: Trial) -> float:
        size, drop = _both(trial.figures)
        return share(size, sizes) ** 2 + share(drop, drops) ** 2

    return sorted(best, key=lambda trial: (distance(trial), trial.number))


def _both(figures: Figures) -> tuple[float, float]:
    """Bytes, and points lost."""
    return float(figures.bytes or 0), 100.0 if figures.drop is None else figures.drop
