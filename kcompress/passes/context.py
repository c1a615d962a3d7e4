"""What a pass may know besides the model; there is no global state."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress.data import Splits
from kcompress.formats import find
from kcompress.passes.statistics import Statistics
from kcompress.progress import Progress, no_progress
from kcompress.quantization.plan import QuantPlan
from kcompress.training.distribution import Devices
from kcompress.training.teachers import Teacher

if TYPE_CHECKING:
    from kcompress.passes.capabilities import PrunesGradually


class Need(enum.StrEnum):
    """What a pass must be given to run."""

    CALIBRATION = "calibration data"
    TRAINING = "training data"
    TEACHER = "a teacher"


@dataclass(frozen=True)
class TrainingContext:
    """What only passes that train ask for."""

    teachers: tuple[Teacher, ...] = ()
    """Models to learn from; without any, the model before the pass."""
    checkpoint: Path | None = None
    """A folder for the state of an unfinished training, from which a run that was killed goes on."""
    pruning: "PrunesGradually | None" = None
    """The pass before this one, if it prunes while this one trains."""
    devices: Devices = field(default_factory=Devices)
    """Where to train."""


@dataclass(frozen=True)
class Context:
    """All that a pass may know besides the model."""

    data: Splits = field(default_factory=lambda: Splits(None, None, None))
    seed: int = 0
    target: str = "keras"
    """Name of the format that will be written."""
    plan: QuantPlan = field(default_factory=QuantPlan)
    progress: Progress = no_progress
    """`with ctx.progress("calibrating", 512) as advance: advance(32)`."""
    log: Callable[[str], None] = lambda _line: None
    read: Callable[[Path], Any] = lambda path: find(path).read(path)
    """Reads a model file that a setting names, trusting what the run trusts."""
    statistics: Statistics | None = None
    """Statistics of the calibration data, shared by passes that follow each other and only round weights."""
    training: TrainingContext = field(default_factory=TrainingContext)
