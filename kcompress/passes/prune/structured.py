"""Remove whole channels, neurons and heads, so that the model is smaller and faster in every runtime.

Channels that can only go together, such as those that a residual sum adds up, are one unit; `channels` finds them. The
units of a group are ranked by a criterion (`criteria/`). Those that rank lowest go, and what is left of every weight is
copied into a new model of stock layers.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from kcompress.channels.channels import Channels, channels
from kcompress.channels.cut import Dropped, cut, zeroed
from kcompress.channels.remaining_cost import RemainingCost
from kcompress.errors import UsageError
from kcompress.fields import tunable
from kcompress.model.view import Node, nodes
from kcompress.passes.base import Change, Context, Goal, Need, Pass, PassResult, Skip
from kcompress.passes.capabilities import ChangesCoupledLayers, GoesInStages, Layers, NewValues
from kcompress.passes.prune._account import account, at_their_least, listed, reason_of
from kcompress.passes.prune._amounts import Order, within
from kcompress.passes.prune._formats import sliced_formats
from kcompress.passes.prune._groups import ChannelGroup, channel_groups
from kcompress.passes.prune._protected import protected, unscalable
from kcompress.passes.prune.criteria import criteria, describe_criteria
from kcompress.passes.selection import Selection
from kcompress.quantization.plan import QuantPlan

AMOUNTS = ("ratio", "macs", "parameters", "bytes")
BUDGETS = AMOUNTS[1:]
DEFAULT_RATIO = 0.3
if TYPE_CHECKING:
    CriterionName = str
else:
    CriterionName = Literal[tuple(criteria())]


class PruneStructured(Pass, GoesInStages, ChangesCoupledLayers):
    """Remove whole channels, neurons and heads; the model gets smaller and faster everywhere.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", 2017; coupled channels: Fang et al., "DepGraph: Towards
    Any Structural Pruning", 2023. Works on Dense, EinsumDense, Embedding, convolutions, recurrent layers and attention,
    through whatever is between them. What the model's inputs and outputs consist of stays, as does what a layer mixes
    that can't be followed; the report names it. Accuracy comes back with training.
    """

    needs = frozenset(each.needs for each in criteria().values() if each.needs is not None)

    criterion: CriterionName = Field("l2", description=describe_criteria())
    ratio: float | None = tunable(None, 0.1, 0.9, severe="high", ge=0, lt=1)
    """The share of channels to remove, such as 0.5. Default 0.3."""
    macs: float | None = tunable(None, 0.2, 0.9, severe="low", whole_model=True, gt=0, le=1)
    """The share of multiply-adds to keep, such as 0.5."""
    parameters: float | None = tunable(None, 0.2, 0.9, severe="low", whole_model=True, gt=0, le=1)
    """The share of parameters to keep, such as 0.5."""
    bytes: float | None = tunable(None, 0.2, 0.9, severe="low", whole_model=True, gt=0, le=1)
    """The share of the bytes that the weights take to keep, such as 0.5, each in the bits that it is stored in."""
    ranking: Literal["per_group", "global"] = "per_group"
    """The way to compare channels: within each group, so that all give the same share, or all with all."""
    round_to: int = Field(1, ge=1, le=256)
    """The number that what is left of a layer's channels is a multiple of, such as 8; 1 for any."""
    min_channels: int = Field(1, ge=1)
    """The number of channels that each layer keeps at least, such as 4."""
    steps: int = Field(1, ge=1, le=100)
    """The number of steps to go in, such as 3. Each ranks anew, and a training pass behind this one runs after each."""
    samples: int = Field(256, ge=1)
    """The number of samples that activation, zeros and taylor look at, such as 256."""

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        given = [name for name in AMOUNTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; give one of {', '.join(AMOUNTS)}")
        for rule in self.rules:
            if budget := next((name for name in BUDGETS if name in rule.overrides), None):
                raise ValueError(f"rule for '{rule.layers[0]}': {budget} is for the whole model; give ratio in a rule")
            if fixed := next((name for name in ("ranking", "steps") if name in rule.overrides), None):
                raise ValueError(f"rule for '{rule.layers[0]}': {fixed} is for the whole pass; leave it out of rules")
        return self

    @property
    def budget(self) -> str | None:
        """The name of what is to be brought down to a share, if that was given."""
        return next((name for name in BUDGETS if getattr(self, name) is not None), None)

    @property
    def required(self) -> frozenset[Need]:
        used = [self.criterion, *(rule.overrides.get("criterion", self.criterion) for rule in self.rules)]
        return frozenset(need for name in used if (need := criteria()[name].needs) is not None)

    def resolve_override(self, own: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
        """A ratio in a rule replaces the budget, for that layer's group."""
        dropped = BUDGETS if "ratio" in overrides else ()
        return {**{k: v for k, v in own.items() if k not in dropped}, **overrides}

    def stages(self) -> "tuple[PruneStructured, ...]":
        """One pass for each stage, each of which removes the same share of what the one before left."""
        if self.steps == 1:
            return (self,)
        own = {key: value for key, value in self.config().items() if key not in (*AMOUNTS, "steps")}

        def each(ratio: float) -> float:
            return float(1 - (1 - ratio) ** (1 / self.steps))

        for rule in own.get("rules", ()):
            if "ratio" in rule:
                rule["ratio"] = each(rule["ratio"])
        if self.budget is None:
            own["ratio"] = each(self.share)
        else:
            own[self.budget] = getattr(self, self.budget) ** (1 / self.steps)
        return tuple(type(self)(**own) for _ in range(self.steps))

    def concerns(self, node: Node, named: bool) -> bool | str:
        if node.is_custom:
            return "a custom layer, whose channels are not known" if named and node.weights else False
        return bool(node.kernels)

    def run(self, model: Any, ctx: Context) -> PassResult:
        """All stages, one after the other."""
        results: list[PassResult] = []
        current, plan = model, ctx.plan
        for stage in self.stages():
            results.append(stage.once(current, replace(ctx, plan=plan)))
            current, plan = results[-1].model, plan.updated(results[-1].formats)
        return results[0] if len(results) == 1 else self.together(results)

    def together(self, results: Sequence[PassResult]) -> PassResult:
        """The results of all stages as one: what is left of a share is the product of what each left."""
        changed: dict[str, str] = {}
        for change in (change for result in results for change in result.changes):
            before = changed.get(change.layer)
            changed[change.layer] = f"{before}, then {change.detail}" if before else change.detail
        skipped = tuple(skip for skip in results[-1].skipped if skip.layer not in changed)
        formats = {name: stored for result in results for name, stored in result.formats.items()}
        goals = []
        for first in results[0].goals:
            limit = getattr(self, self.budget) if self.budget else self.share
            stages = [goal for result in results for goal in result.goals]
            left = [goal.reached for goal in stages if goal.reached is not None]
            reached = None if first.reached is None else math.prod(left)
            missed = reached is None or reached > limit
            goals.append(Goal(first.name, limit, reached, next((g.why for g in stages if g.why), "") if missed else ""))
        changes = tuple(Change(layer, detail) for layer, detail in changed.items())
        return PassResult(results[-1].model, changes, skipped, formats, tuple(goals))

    def once(self, model: Any, ctx: Context) -> PassResult:
        """One stage."""
        selection, found = self.select(model), channels(model)
        ranked, scores, reasons = self.ranked(model, found, selection, ctx)
        dropped, goals = self.choose(model, found, ranked, scores, ctx.plan)
        if not ranked and not any(skip.asked for skip in selection.skipped):
            goals = (self.nothing(found, selection, reasons),)
        new = cut(model, found, dropped)
        changes, skipped = account(model, found, dropped, selection, reasons)
        formats = sliced_formats(model, found, dropped, ctx.plan)
        return PassResult(new, changes, skipped, formats, goals)

    def apart(self, model: Any, ctx: Context) -> tuple[dict[Layers, NewValues], tuple[Skip, ...]]:
        found, alone, left = self.dropped_apart(model, ctx)
        return {layers: list(zeroed(model, found, dropped)) for layers, dropped in alone.items()}, left

    def dropped_apart(self, model: Any, ctx: Context) -> tuple[Channels, dict[Layers, Dropped], tuple[Skip, ...]]:
        """The channels of a model, what each set of coupled layers alone would lose, and the layers that lose nothing.

        The pass takes what all of them lose at once.
        """
        selection, found = self.select(model), channels(model)
        ranked, scores, reasons = self.ranked(model, found, selection, ctx)
        dropped, _ = self.choose(model, found, ranked, scores, ctx.plan)
        alone: dict[Layers, Dropped] = {}
        for group in ranked:
            own = alone.setdefault(group.layers, np.zeros_like(dropped))
            own[group.units] = dropped[group.units]
        return found, alone, account(model, found, dropped, selection, reasons)[1]

    def ranked(
        self, model: Any, found: Channels, selection: Selection, ctx: Context
    ) -> tuple[list[ChannelGroup], NDArray[np.float64], dict[int, str]]:
        """The groups that can be ranked, a score for each unit, and why units stay."""
        reasons = protected(model, found, selection) | unscalable(model, found, ctx.plan)
        with ctx.progress(f"{self.name}: ranking", None):
            every = channel_groups(model, found, selection, reasons)
            scores = self.scores(model, found, every, ctx)
        for group in every:
            if np.isnan(scores[group.units]).any():
                reasons.update((int(unit), "it has no batch normalization with a scale") for unit in group.units)
        return [group for group in every if not np.isnan(scores[group.units]).any()], scores, reasons

    def scores(self, model: Any, found: Channels, every: Sequence[ChannelGroup], ctx: Context) -> NDArray[np.float64]:
        """A score for each unit of the groups; NaN where a criterion has nothing to go by."""
        scores = np.zeros(found.units.count)
        for criterion in dict.fromkeys(group.settings.criterion for group in every):
            alike = [group for group in every if group.settings.criterion == criterion]
            units = [group.units for group in alike]
            new = criteria()[criterion]().scores(model, found, units, ctx, self.samples)
            chosen = np.concatenate(units)
            scores[chosen] = new[chosen]
        return scores

    def choose(
        self, model: Any, found: Channels, every: Sequence[ChannelGroup], scores: NDArray[np.float64], plan: QuantPlan
    ) -> tuple[Dropped, tuple[Goal, ...]]:
        """Which units go, and what that makes of the budget."""
        dropped = np.zeros(found.units.count, bool)
        for share in dict.fromkeys(group.settings.share for group in every if not group.settings.budget):
            alike = [g for g in every if not g.settings.budget and g.settings.share == share]
            order = Order.of(alike, scores, self.ranking, dropped)
            dropped = order.dropped(found, order.ratio(share, self.ranking), order.guards(found))
        if self.budget is None:
            return dropped, ()
        target = float(getattr(self, self.budget))
        cost = self.remaining_cost(model, found, plan)
        order = Order.of([group for group in every if group.settings.budget], scores, self.ranking, dropped)
        dropped = within(order, found, cost, target, order.guards(found))
        reached = cost.share(dropped)
        why = "" if reached <= target else at_their_least(every, dropped)
        return dropped, (Goal(self.budget, target, reached, why),)

    def remaining_cost(self, model: Any, found: Channels, plan: QuantPlan) -> RemainingCost:
        assert self.budget is not None
        weights = [(node.qualified(w), w.variable) for node in nodes(model) for w in node.weights]
        bits = {id(variable): plan.weights[name].bits for name, variable in weights if name in plan.weights}
        try:
            return RemainingCost(model, found, self.budget, bits)
        except ValueError as error:
            raise UsageError(
                f"{self.name}: {self.budget}={getattr(self, self.budget):g} can't be met, since {error}; give "
                "parameters or bytes instead"
            ) from error

    @property
    def share(self) -> float:
        """The share of channels to remove, where that was asked for."""
        return DEFAULT_RATIO if self.ratio is None else self.ratio

    def nothing(self, found: Channels, selection: Selection, reasons: dict[int, str]) -> Goal:
        """The goal of a pass that finds no channel to remove."""
        named = [f"{node.name} ({reason_of(found, node, reasons)})" for node, _ in selection.chosen]
        why = f"no channel of the model can be removed: {listed(named)}" if named else "no layer is selected"
        return Goal(self.budget or "ratio", getattr(self, self.budget) if self.budget else self.share, None, why)
