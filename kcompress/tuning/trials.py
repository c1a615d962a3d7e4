"""What is stored of a search: its settings, the requests to workers, and the outcomes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kcompress.codec import decode
from kcompress.run.options import Budgets
from kcompress.tuning.figures import Figures
from kcompress.tuning.marks import Value
from kcompress.tuning.options import SILENT_SECONDS

VALUES, FIGURES, SECONDS, REASON, REPEATS = "values", "figures", "seconds", "reason", "repeats"
FULL, DROPS, BIAS = "full", "drops", "bias"
"""A trial's figures after all of the training, the study's ReferenceDrops, and the points that are
taken for no loss."""
ALIVE, LEFT, AGAIN, FULL_TRAINING = "alive", "left", "again", "full_training"
"""When a worker last said that it works on a trial; whether it left it; the one that this one is put back from; whether
it is the one that gets all of the training too."""
STATES: dict[str, Literal["done", "cut", "failed"]] = {"COMPLETE": "done", "PRUNED": "cut", "FAIL": "failed"}


@dataclass(frozen=True)
class StudySettings:
    """How to search: the study's name, by what sampler, how many trials, what is sought."""

    study: str
    kind: str
    trials: int
    limits: Budgets
    seed: int = 0
    smallest: bool = True
    """Whether bytes are to be as few as possible, else the drop."""
    deadline: float = math.inf
    """The time after which no trial is started, in seconds since 1970."""
    fidelity: bool = False
    """Whether a trial is to be measured after all of the training too, to tell what that gives back."""
    mildest: Mapping[str, Value] | None = None
    """The values that should cost nothing, where the source may know by heart what trials are judged on; measured after
    all of the training too, to tell what they cost there."""
    silent_seconds: float = SILENT_SECONDS


@dataclass(frozen=True)
class Trial:
    """A finished trial. `reason` says why it was cut short or failed, or which one it repeats.

    `full` are the figures after all of the training, of those that are measured so too.
    """

    number: int
    state: Literal["done", "cut", "failed"]
    values: Mapping[str, Value]
    figures: Figures
    seconds: float
    reason: str = ""
    full: Figures | None = None

    def to_json(self) -> dict[str, Any]:
        full = {"full": self.full.to_json()} if self.full else {}
        plain = {key: value for key, value in vars(self).items() if key != "full"}
        return {**plain, "values": dict(self.values), "figures": self.figures.to_json(), **full}


@dataclass(frozen=True)
class TrialRequest:
    """A trial that is to be carried out.

    `best` is the size that it has to beat, if there is one, `max_drop` what a drop after a share of the training may
    be, infinity where that is not known yet; `full_training` asks for figures after all of it too.
    """

    number: int
    values: Mapping[str, Value]
    best: int | None
    max_drop: float | None = None
    full_training: bool = False


def trial_of(frozen: Any) -> Trial:
    """A finished trial as Optuna has it."""
    attributes = frozen.user_attrs
    figures = decode(Figures, attributes[FIGURES]) if FIGURES in attributes else Figures()
    state = STATES[frozen.state.name]
    lost = "its worker ended before it was done, twice" if state == "failed" else ""
    reason = attributes.get(REASON, lost)
    values, seconds = attributes.get(VALUES, {}), attributes.get(SECONDS, 0.0)
    full = decode(Figures, attributes[FULL]) if FULL in attributes else None
    return Trial(frozen.number, state, values, figures, seconds, reason, full)
