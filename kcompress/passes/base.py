"""What a pass is: a frozen, validated set of fields and a `run` that takes a Keras model and returns another.

`apply` calls `run` and holds it to the promises, so that a pass contains only its own idea: the given model was not
touched, inputs and outputs kept their signature, every targeted layer is accounted for, and zeros and grids of earlier
passes survived. What only some passes can do is in `capabilities`.
"""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kcompress.errors import UsageError
from kcompress.fields import explain
from kcompress.model.view import Node
from kcompress.passes.context import Context, Need, TrainingContext
from kcompress.passes.promises import Before
from kcompress.passes.result import Change, Goal, PassResult, Skip
from kcompress.passes.selection import Rule, Selection, patterns, select

__all__ = ["Change", "Context", "Goal", "Need", "Pass", "PassResult", "Rule", "Skip", "TrainingContext"]


class Pass(BaseModel):
    """Base of all passes. Keyword-only, frozen; a field's docstring says what it means, its unit and its range."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
    def required(self) -> frozenset[Need]:
        """What must be given for these settings."""
        return self.needs

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
        """Merge a rule's fields into the pass's own."""
        return {**own, **overrides}

    def concerns(self, node: Node, named: bool) -> bool | str:
        """Whether the pass works on a layer; a text declines it with that reason.

        `named` says whether a pattern in `layers` or in a rule fits the layer.
        """
        raise NotImplementedError

    def select(self, model: Any) -> Selection:
        """The layers of `model` to work on, with the settings for each."""
        return select(self, model)

    def run(self, model: Any, ctx: Context) -> PassResult:
        """Return a changed copy of `model`. Call `apply` instead, which checks the result."""
        raise NotImplementedError

    def apply(self, model: Any, ctx: Context) -> PassResult:
        """Run the pass on a Keras model and check what came back; raises ContractError if it broke a promise."""
        before = Before.of(self, model)
        result = self.run(model, ctx)
        before.check(self, result, ctx.plan)
        return result
