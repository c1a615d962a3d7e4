"""What a search found: the winner, all trials, which of them no other beats, and what mattered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kcompress.codec import decode
from kcompress.report import Report
from kcompress.report.document import Document, Result
from kcompress.run.options import Budgets
from kcompress.tuning.choice import pareto_front
from kcompress.tuning.figures import Figures
from kcompress.tuning.rebuilding import RebuiltCandidate
from kcompress.tuning.report import tables
from kcompress.tuning.report.plot import scatter
from kcompress.tuning.storage import without_warnings
from kcompress.tuning.study import Study
from kcompress.tuning.trials import FIGURES, Trial

WEIGHED = ("bytes", "drop")


@dataclass(frozen=True)
class SearchReport(Result):
    """A finished search.

    Attributes:
        winner: the report of the file that was written, as `compress` gives it.
        trial: the number of the winner's trial.
        recipe, recipe_path: what reproduces it, and where that was written.
        trials: all that were tried; their figures are of less training, on validation data.
        rebuilt: those that were rebuilt with all of the training, the winner last.
        importances: `bytes` and `drop` to how much each searched value mattered, shares that add up to 1.
        groups: what was searched by groups of layers, and these.
        limits: the budgets.
        unbiased_budgets: the budgets, raised by the points that count as no loss.
        trial_budgets: the budgets for trials, which more training will improve.
        source: path and size of the model that went in.
    """

    winner: Report
    trial: int
    recipe: Mapping[str, Any]
    recipe_path: str
    trials: tuple[Trial, ...]
    rebuilt: tuple[RebuiltCandidate, ...]
    importances: Mapping[str, Mapping[str, float]]
    groups: Mapping[str, tuple[tuple[str, ...], ...]]
    limits: Budgets
    unbiased_budgets: Budgets
    trial_budgets: Budgets
    seconds: float
    notes: tuple[str, ...] = field(default=())

    @property
    def pareto_front(self) -> tuple[Trial, ...]:
        """The trials that no other beats in both size and drop, the smallest first."""
        return tuple(pareto_front(self.trials))

    @property
    def exit_code(self) -> int:
        """0, or 1 if a budget was not met."""
        return self.winner.exit_code

    def document(self) -> Document:
        title = f"Search for a smaller {self.winner.source.path}"
        return Document(title, self.to_json(), tables.tables(self), tables.remarks(self), lambda: scatter(self))

    def to_json(self) -> dict[str, Any]:
        """The search as plain data."""
        return {
            "kcompress": self.winner.version,
            "winner": self.winner.to_json(),
            "trial": self.trial,
            "recipe": dict(self.recipe),
            "recipe_path": self.recipe_path,
            "trials": [trial.to_json() for trial in self.trials],
            "front": [trial.number for trial in self.pareto_front],
            "rebuilt": [each.to_json() for each in self.rebuilt],
            "importances": {name: dict(shares) for name, shares in self.importances.items()},
            "groups": {name: [list(group) for group in groups] for name, groups in self.groups.items()},
            "seconds": self.seconds,
            **({"notes": list(self.notes)} if self.notes else {}),
        }


def importances(study: Study) -> dict[str, dict[str, float]]:
    """How much each searched value mattered for size and for drop; without what can't be told from so few trials."""
    import optuna

    found = {}
    for figure in WEIGHED:

        def target(frozen: Any, figure: str = figure) -> float:
            return float(getattr(decode(Figures, frozen.user_attrs[FIGURES]), figure))

        measured = [trial for trial in study.trials() if trial.state == "done"]
        if len({getattr(trial.figures, figure) for trial in measured} - {None}) < 2:
            continue
        try:
            with without_warnings():
                evaluator = optuna.importance.PedAnovaImportanceEvaluator()
                shares = optuna.importance.get_param_importances(study.study, evaluator=evaluator, target=target)
        except (ValueError, RuntimeError, TypeError):  # too few trials, or all alike
            continue
        found[figure] = {name: float(share) for name, share in shares.items()}
    return found
