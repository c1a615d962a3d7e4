"""What a pass is, and what is checked about every one of them.

A pass is a frozen, validated set of fields and a `run` that takes a Keras model and returns another. `apply` calls
`run` and holds it to the promises, so that a pass contains only its own idea: the given model was not touched, inputs
and outputs kept their signature, every targeted layer is accounted for, and zeros and grids of earlier passes survived.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kcompress.data import Splits
from kcompress.errors import ContractError, UsageError
from kcompress.fields import explain
from kcompress.formats import find
from kcompress.model.rebuild import copy, fingerprint
from kcompress.model.signature import signature
from kcompress.model.view import Node, nodes
from kcompress.passes.rules import Change, Goal, Selection, Skip, patterns, select
from kcompress.passes.statistics import Statistics
from kcompress.progress import Progress, no_progress
from kcompress.quantization.plan import Activations, QuantPlan, WeightFormat
from kcompress.training.distribution import Devices
from kcompress.training.teachers import Teacher

__all__ = ["Change", "Context", "Goal", "Need", "Pass", "PassResult", "Rule", "Skip"]


class Need(enum.StrEnum):
    """What a pass must be given to run."""

    CALIBRATION = "calibration data"
    TRAINING = "training data"
    TEACHER = "a teacher"


@dataclass(frozen=True)
class Context:
    """All that a pass may know besides the model; there is no global state."""

    data: Splits = field(default_factory=lambda: Splits(None, None, None))
    seed: int = 0
    target: str = "keras"
    """Name of the format that will be written."""
    plan: QuantPlan = field(default_factory=QuantPlan)
    progress: Progress = no_progress
    """`with ctx.progress("calibrating", 512) as advance: advance(32)`."""
    log: Callable[[str], None] = lambda _line: None
    teachers: tuple[Teacher, ...] = ()
    """Models to learn from: the run's own source, where no others were given, or the model before the pass."""
    checkpoint: Path | None = None
    """A folder for the state of a training that is not over, which one that was killed goes on from."""
    companion: "Pass | None" = None
    """A pass before this one, if it goes on while this one trains."""
    read: Callable[[Path], Any] = lambda path: find(path).read(path)
    """Reads a model file that a setting names, trusting what the run trusts."""
    devices: Devices = field(default_factory=Devices)
    """Where passes that train do it."""
    statistics: Statistics | None = None
    """Of the calibration data, shared with the passes before and after where they only round weights."""


@dataclass(frozen=True)
class Companion:
    """What a pass does while another trains: `removed` tells, from the share of the training that is over, which places
    of which variables are to be zero; that is settled after the share `until`. With `regrow` they are so only for who
    reads them, and go on learning.
    """

    removed: Callable[[float], Sequence[tuple[Any, NDArray[np.bool_]]]]
    until: float = 1.0
    regrow: bool = False


@dataclass(frozen=True)
class PassResult:
    """The new model, what changed, what did not and why, how changed weights are to be stored, and what was reached.

    `activations` tells how values between layers are computed from now on, where the pass found out more of it.
    `history` has an entry for each epoch of a training: `loss`, `validation_loss` (None without such data), `seconds`.
    """

    model: Any
    changes: tuple[Change, ...]
    skipped: tuple[Skip, ...] = ()
    formats: Mapping[str, WeightFormat] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    activations: Activations | None = None
    history: tuple[Mapping[str, float | None], ...] = ()


class Rule(BaseModel):
    """Other settings for some layers: `layers` names them, `skip` leaves them alone, the rest overrides fields."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    layers: tuple[str, ...] = Field(min_length=1)
    """Glob patterns of qualified layer names, such as `block*/conv*`."""
    skip: bool = False
    """Leave these layers alone."""

    _to_tuple = field_validator("layers", mode="before")(patterns)

    @property
    def overrides(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Pass(BaseModel):
    """Base of all passes. Keyword-only, frozen; a field's docstring says what it means, its unit and its range."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    trains: ClassVar[bool] = False
    """Whether the pass trains the model, so that a pass before it that goes in steps takes one before each training."""
    rounds: ClassVar[bool] = False
    """Whether the pass only rounds weights, so that statistics of the model before it are still good after it."""
    needs: ClassVar[frozenset[Need]] = frozenset()
    """All that the pass may need; `required` narrows it to what its settings need."""
    outputs: ClassVar[frozenset[str] | None] = None
    """Names of the formats that can hold what the pass makes; None for all."""

    layers: tuple[str, ...] = ()
    """Glob patterns of the layers to work on, such as `block*/conv*`; all that the pass handles if empty."""
    skip: tuple[str, ...] = ()
    """Glob patterns of layers to leave alone."""
    rules: tuple[Rule, ...] = Field((), description="Per-layer rules (in a recipe); the first that matches wins.")

    _to_tuple = field_validator("layers", "skip", mode="before")(patterns)

    def __init__(self, /, **fields: Any) -> None:
        """Validate the fields and each rule's overrides; raise UsageError with one line on the first problem."""
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise explain(self.name, type(self), error) from None
        for rule in self.rules:
            try:
                self.under(rule)
            except UsageError as error:
                problem = str(error).removeprefix(f"{self.name}: ")
                raise UsageError(f"{self.name}: rule for '{rule.layers[0]}': {problem}") from None

    @classmethod
    def title(cls) -> str:
        """`prune.magnitude` for the class in passes/prune/magnitude.py."""
        return cls.__module__.removeprefix("kcompress.passes.")

    @property
    def name(self) -> str:
        return self.title()

    @property
    def accompanies(self) -> bool:
        """Whether the pass goes on while the training pass behind it trains, as `during` tells."""
        return False

    def at_once(self) -> "Pass":
        """The pass as it is without a training pass behind it."""
        return self

    def during(self, model: Any) -> Companion:
        """What to do to a model while it is trained."""
        raise NotImplementedError

    @property
    def required(self) -> frozenset[Need]:
        """What must be given for these settings."""
        return self.needs

    def files(self) -> tuple[Path, ...]:
        """Model files that the settings name, which `run` reads with `ctx.read`; their content counts in resuming.

        Raises UsageError where the settings lack one.
        """
        return ()

    def stages(self) -> "Sequence[Pass]":
        """The pass as several, one for each of its steps; itself where it has no steps."""
        return (self,)

    def computation(self) -> Activations | None:
        """How the values between layers are to be computed; None where the pass has no say in it."""
        return None

    def statistics(self, model: Any) -> dict[str, int]:
        """The layers whose input's statistics the pass will ask for, and from how many calibration samples."""
        return {}

    def config(self) -> dict[str, Any]:
        """The fields that were set, as plain data."""
        return self.model_dump(mode="json", exclude_unset=True)

    def under(self, rule: Rule) -> Self:
        """These settings with the rule's overrides; an override replaces the fields that exclude it."""
        if "rules" in rule.overrides:
            raise UsageError(f"{self.name}: no field 'rules' in a rule; write one list of rules")
        own = {k: v for k, v in self.config().items() if k not in ("layers", "skip", "rules")}
        return type(self)(**self.resolve_override(own, rule.overrides))

    def resolve_override(self, own: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
        """Merge a rule's fields into the step's own."""
        return {**own, **overrides}

    def concerns(self, node: Node, named: bool) -> bool | str:
        """Whether the pass works on a layer; a text declines it with that reason.

        `named` says whether a pattern in `layers` or in a rule fits the layer.
        """
        raise NotImplementedError

    def select(self, model: Any) -> Selection:
        """The layers of `model` to work on, with the settings for each."""
        return select(self, model)

    def subject(self, model: Any, ctx: Context) -> Any:
        """The model to work on: the given one, or another one that takes its place."""
        return model

    def run(self, model: Any, ctx: Context) -> PassResult:
        """Return a changed copy of `model`. Call `apply` instead, which checks the result."""
        raise NotImplementedError

    def apply(self, model: Any, ctx: Context) -> PassResult:
        """Run the pass on a Keras model and check what came back; raises ContractError if it broke a promise."""
        if not ctx.teachers:
            ctx = replace(ctx, teachers=(Teacher("the model before it", "", partial(copy, model)),))
        model = self.subject(model, ctx)
        sign, before = _signature(model), fingerprint(model)
        targets = self.select(model).targets
        result = self.run(model, ctx)
        if result.model is model or fingerprint(model) != before:
            raise ContractError(f"{self.name}: modified the model that it was given")
        if _signature(result.model) != sign:
            raise ContractError(f"{self.name}: changed the model's inputs or outputs")
        accounted = [change.layer for change in result.changes] + [skip.layer for skip in result.skipped]
        if set(accounted) != targets or len(accounted) != len(set(accounted)):
            off = sorted(targets.symmetric_difference(accounted)) or sorted(accounted)
            raise ContractError(f"{self.name}: layers neither or twice accounted for: {', '.join(off)}")
        _check_kept(self, model, result, ctx.plan)
        return result


def _signature(model: Any) -> tuple[Any, ...]:
    sign = signature(model)
    outputs = [(tuple(t.shape), str(t.dtype)) for t in model.outputs]
    return sign.inputs, sign.dtypes, sign.outputs, outputs


def _check_kept(step: Pass, model: Any, result: PassResult, plan: QuantPlan) -> None:
    """Zeros in kernels stay zero, and weights on a grid stay on one, wherever the shape is unchanged.

    A zero that is but a level of a grid may become another level in training.
    """
    name = step.name
    levels = {key for key, form in plan.weights.items() if step.trains and form.kind == "int" and not form.sparse}
    before = {node.qualified(w): w.values for node in nodes(model) for w in node.kernels}
    formats = plan.updated(result.formats).weights
    for node in nodes(result.model):
        for weight in node.weights:
            qualified, values = node.qualified(weight), weight.values
            was = before.get(qualified)
            alike = was is not None and (was.shape, was.dtype) == (values.shape, values.dtype)  # not packed since
            if alike and qualified not in levels and np.any(values[was == 0]):
                raise ContractError(f"{name}: zeros of {qualified} did not stay zero")
            if qualified in formats and not formats[qualified].holds(values):
                raise ContractError(f"{name}: {qualified} left its grid")
