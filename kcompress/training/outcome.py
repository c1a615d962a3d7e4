"""The schedule of a training in steps and epochs, and its outcome."""

import math
from dataclasses import dataclass, field

from kcompress.training.feed import Feed
from kcompress.training.settings import DEFAULT_EPOCHS, TrainingSettings


@dataclass(frozen=True)
class Epoch:
    """Losses of one epoch, means over its batches; `validation` is None without validation data."""

    loss: float
    validation: float | None
    seconds: float


@dataclass
class Outcome:
    """How a training went. `planned` epochs; `best` is the number of the one whose weights were kept, from 1.

    `steps` were done. `diverged` is the number of the batch, from 1, whose loss was no finite number, 0 if there was
    none.
    """

    planned: int
    steps: int = 0
    diverged: int = 0
    best: int = 0
    epochs: list[Epoch] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingSchedule:
    """How many steps there are, and how many in an epoch."""

    steps: int
    per_epoch: int

    @classmethod
    def of(cls, settings: TrainingSettings, feed: Feed) -> "TrainingSchedule":
        each = feed.per_epoch
        return cls(settings.steps or (settings.epochs or DEFAULT_EPOCHS) * each, each)

    @property
    def epochs(self) -> int:
        return math.ceil(self.steps / self.per_epoch)

    def epoch(self, step: int) -> tuple[int, int]:
        """The first step of the epoch that this step is in, and the first one after it."""
        first = step // self.per_epoch * self.per_epoch
        return first, min(first + self.per_epoch, self.steps)
