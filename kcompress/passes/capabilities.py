"""What only some passes can do, each a base class to inherit from beside `Pass`; a run asks with isinstance.

A pass without any of them takes a model and returns another, and nothing else has to be known about it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kcompress.passes.base import Pass
    from kcompress.passes.context import Context
    from kcompress.passes.result import Skip
    from kcompress.quantization.plan import Activations
    from kcompress.typing import Combination

Layers = tuple[str, ...]
"""Qualified names of layers that can only be changed together; mostly it is one."""
NewValues = Sequence[tuple[Any, "NDArray[Any]"]]
"""Variables of a model and their new values."""


class TrainsModel(ABC):
    """A pass that trains the model."""

    @abstractmethod
    def shortened(self, share: float) -> "Pass":
        """The pass with this share of its training, at least one epoch or step of it."""


class ReplacesModel(ABC):
    """A pass that may put a model of another architecture in the place of the given one."""

    @property
    @abstractmethod
    def replaces_model(self) -> bool:
        """Whether it does so with these settings."""


class CombinesTeachers(ABC):
    """A pass that makes one teacher of several."""

    @property
    @abstractmethod
    def combination(self) -> "Combination | None":
        """How, if that was set; None where it is left to the default."""

    @abstractmethod
    def combining(self, how: "Combination") -> "Pass":
        """The pass with this way to combine teachers, unless one was set."""


@dataclass(frozen=True)
class GradualPruning:
    """Pruning that goes on while a model is trained.

    Attributes:
        removed: takes the share of the training that is over; returns variables, each with a mask that is true where a
            weight is to be zero.
        until: the share of the training after which `removed` stays the same.
        regrow: whether removed weights are only read as zero, and go on learning.
    """

    removed: "Callable[[float], Sequence[tuple[Any, NDArray[np.bool_]]]]"
    until: float = 1.0
    regrow: bool = False


class PrunesGradually(ABC):
    """A pass that may prune little by little while the pass behind it trains."""

    @property
    @abstractmethod
    def is_gradual(self) -> bool:
        """Whether it does so with these settings."""

    @abstractmethod
    def at_once(self) -> "Pass":
        """The pass without a training behind it, which prunes as much in one go."""

    @abstractmethod
    def gradually(self, model: Any) -> GradualPruning:
        """What to do to a model while it is trained."""


class GoesInStages(ABC):
    """A pass that may go in several stages, with the training pass behind it after each of them."""

    @abstractmethod
    def stages(self) -> "Sequence[Pass]":
        """The pass as several, one for each stage."""


class SharesStatistics(ABC):
    """A pass that asks for statistics of calibration data, and only rounds weights.

    Statistics that were collected before such a pass still serve the next one.
    """

    @abstractmethod
    def statistics(self, model: Any) -> dict[str, int]:
        """The layers whose input's statistics the pass will ask for, and from how many calibration samples."""


class ComputesActivations(ABC):
    """A pass that decides how the values between the layers are computed."""

    @abstractmethod
    def computation(self) -> "Activations | None":
        """How; None if these settings leave it as it is."""


class ReadsModels(ABC):
    """A pass whose settings name model files, which it reads with `ctx.read`."""

    @abstractmethod
    def model_files(self) -> tuple[Path, ...]:
        """Their paths; what the files hold counts when a run is resumed. UsageError where the settings lack one."""


class ChangesCoupledLayers(ABC):
    """A pass that changes shapes of several layers together, and can tell what each set of them alone would do."""

    @abstractmethod
    def apart(self, model: Any, ctx: "Context") -> "tuple[Mapping[Layers, NewValues], tuple[Skip, ...]]":
        """The new values that give the outputs of the model with only these layers changed, and the layers left alone.

        Sets of layers are in the order of the model, and shapes stay as they are: what would be removed is zero.
        """
