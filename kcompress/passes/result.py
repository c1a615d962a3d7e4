"""What a pass hands back: the new model, what became of each layer, and what was reached."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kcompress.quantization.plan import Activations, WeightFormat


@dataclass(frozen=True)
class Change:
    """A layer that a pass changed, what it did to it in a few words, and figures by name, such as `weight_sqnr_db`.

    A figure of None is without bound, as a signal-to-noise ratio without noise.
    """

    layer: str
    detail: str
    figures: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Skip:
    """A layer that a pass left as it was, and why.

    `asked` is set where the recipe asked for it. `expected` is set where leaving the layer alone is no shortcoming of
    the pass, for example where other layers gave all that was asked for.
    """

    layer: str
    reason: str
    asked: bool = False
    expected: bool = False


@dataclass(frozen=True)
class Goal:
    """A figure, such as `macs`, that a pass was to bring down to `limit`, and what it `reached`; None for nothing.

    `why` says what stood in the way where the limit was missed.
    """

    name: str
    limit: float
    reached: float | None
    why: str = ""


@dataclass(frozen=True)
class PassResult:
    """The new model, what changed, what did not and why, and how changed weights are to be stored.

    `activations` says how values between layers are computed from now on, where the pass settled that.
    `history` has an entry for each epoch of a training: `loss`, `validation_loss` (None without such data), `seconds`.
    """

    model: Any
    changes: tuple[Change, ...]
    skipped: tuple[Skip, ...] = ()
    formats: Mapping[str, WeightFormat] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    activations: Activations | None = None
    history: tuple[Mapping[str, float | None], ...] = ()
