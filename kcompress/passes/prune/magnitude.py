"""Zero the smallest weights; shapes are unchanged.

A weight w is selected by its magnitude |w|: below a threshold, among the smallest share of a layer or of all layers
together, or all but the n largest of every m along the input axis. A selected weight becomes w − amount · w.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from kcompress.fields import tunable
from kcompress.model.rebuild import assign, copy
from kcompress.model.view import Node, Weight
from kcompress.numerics import magnitude
from kcompress.passes.base import Change, Context, Pass, PassResult, Skip
from kcompress.passes.capabilities import GradualPruning, PrunesGradually
from kcompress.quantization.plan import QuantPlan, WeightFormat

MODES = ("sparsity", "keep", "threshold", "n")
DEFAULT_SPARSITY = 0.5


class PruneMagnitude(Pass, PrunesGradually):
    """Zero the smallest weights; shapes are unchanged.

    Source: Han, Pool, Tran and Dally, "Learning both Weights and Connections for Efficient Neural Networks", 2015;
    n:m sparsity: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021. Works on all kernels of Dense,
    EinsumDense, convolutions, Embedding, recurrent cells and attention. Custom layers only where they are named.
    """

    sparsity: float | None = tunable(None, 0.1, 0.98, severe="high", ge=0, lt=1)
    """The share of weights to zero, such as 0.7. Zeros already there count. Default 0.5."""
    keep: float | None = Field(None, gt=0, le=1)
    """The share of weights to keep, such as 0.3; the same as sparsity = 1 - keep."""
    threshold: float | None = Field(None, ge=0, allow_inf_nan=False)
    """The magnitude below which a weight is zeroed, such as 0.01, in the weights' own unit."""
    n: int | None = Field(None, ge=1)
    """The number of weights to keep in every m along the input axis, such as 2."""
    m: int | None = Field(None, ge=2)
    """The size of the groups of which n are kept, such as 4."""
    ranking: Literal["per_layer", "global"] = "per_layer"
    """Whether a share is taken of each kernel of each layer (per_layer) or of all layers together (global)."""
    amount: float = Field(1.0, gt=0, le=1)
    """The factor r in (0, 1] by which selected weights shrink, w - w * r, such as 1 to remove them."""
    schedule: Literal["constant", "polynomial"] = "constant"
    """Whether to prune at once (constant), or little by little while the training pass behind this one trains: to
    s + (i - s) * (1 - t / u)^3 after the share t of it, s being the share to zero, i initial, u until (polynomial)."""
    initial: float = Field(0.0, ge=0, lt=1)
    """The share of weights to zero before training, with schedule=polynomial, such as 0.3."""
    until: float = Field(0.75, gt=0, le=1)
    """The share of the training after which no more weights are zeroed, with schedule=polynomial, such as 0.75."""
    regrow: bool = False
    """Whether removed weights go on learning unseen and come back where they have become large: true or false, with
    schedule=polynomial."""
    biases: bool = False
    """Also select among biases: true or false."""
    normalization: bool = False
    """Also select among the scales and offsets of normalization layers: true or false."""

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        given = [name for name in MODES if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; give one of {', '.join(MODES)}")
        if (self.n is None) != (self.m is None):
            raise ValueError("n and m go together; give both, such as n=2,m=4")
        if self.n is not None and self.m is not None and self.n >= self.m:
            raise ValueError(f"n={self.n} is not below m={self.m}; give fewer to keep than there are, such as n=2,m=4")
        if self.ranking == "global" and (self.threshold is not None or self.n is not None):
            raise ValueError("ranking=global ranks a share; give sparsity or keep with it, or leave ranking out")
        self._check_schedule()
        return self

    def _check_schedule(self) -> None:
        if self.schedule == "constant":
            if self.initial or self.regrow:
                raise ValueError("initial and regrow go with schedule=polynomial; add that, or leave them out")
            return
        if self.threshold is not None or self.n is not None or self.amount != 1:
            raise ValueError("schedule=polynomial raises a share; give sparsity or keep with it, and no amount")
        if self.initial > self.share:
            raise ValueError(f"initial={self.initial:g} is above the share to zero, {self.share:g}; give less")
        if fixed := next(
            (rule for rule in self.rules if {"schedule", "until", "regrow"} & rule.overrides.keys()), None
        ):
            raise ValueError(f"rule for '{fixed.layers[0]}': schedule, until and regrow are for the whole pass")

    @property
    def is_gradual(self) -> bool:
        return self.schedule != "constant"

    def at_once(self) -> Self:
        left_out = ("schedule", "initial", "until", "regrow")
        return type(self)(**{name: value for name, value in self.config().items() if name not in left_out})

    @property
    def share(self) -> float:
        """Share of the weights to select, where a share is what was asked for."""
        if self.keep is not None:
            return 1 - self.keep
        return DEFAULT_SPARSITY if self.sparsity is None else self.sparsity

    def resolve_override(self, own: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
        """A rule that names another mode replaces the pass's mode; n or m alone replaces that number."""
        replaced: set[str] = set()
        if overrides.keys() & {"sparsity", "keep", "threshold"}:
            replaced = {*MODES, "m"}
        elif overrides.keys() & {"n", "m"}:
            replaced = {"sparsity", "keep", "threshold"}
        if overrides.keys() & {"threshold", "n", "m"}:
            replaced.add("ranking")
        return {**{k: v for k, v in own.items() if k not in replaced}, **overrides}

    def concerns(self, node: Node, named: bool) -> bool | str:
        weights = self.selectable(node)
        if not weights:
            return False
        if node.is_custom and not named:
            return "a custom layer; name it in layers or in a rule to prune its weights of two or more dimensions"
        integer = [w for w in weights if w.variable.dtype.startswith(("int", "uint"))]
        if integer:
            return f"{integer[0].name} is stored as {integer[0].variable.dtype}; prune before quantizing"
        if self.n is not None and all(self.group_axis(w) is None for w in weights):
            return f"no input axis of {self.m} or more to take groups along"
        return True

    def selectable(self, node: Node) -> list[Weight]:
        if node.is_custom:
            return [w for w in node.weights if w.learned and len(w.variable.shape) >= 2]
        roles = {"kernel"} | ({"bias"} if self.biases else set()) | ({"normalization"} if self.normalization else set())
        return [w for w in node.weights if w.role in roles]

    def group_axis(self, weight: Weight) -> int | None:
        """The axis that n:m groups lie along: the last input axis that holds a whole group, if there is one."""
        axes = weight.axes.inputs if weight.axes else ()
        long = [axis for axis in axes if self.m is not None and weight.variable.shape[axis] >= self.m]
        return long[-1] if long else None

    def run(self, model: Any, ctx: Context) -> PassResult:
        new = copy(model)
        selection = self.select(new)
        if self.is_gradual and (self.regrow or not self.initial):
            left = tuple(Skip(n.name, "pruned while the next pass trains", expected=True) for n, _ in selection.chosen)
            return PassResult(new, (), (*selection.skipped, *left))
        changes: list[Change] = []
        skipped = list(selection.skipped)
        formats: dict[str, WeightFormat] = {}
        for settings, members in _alike(selection.chosen):
            weights = [settings.selectable(node) for node in members]
            now = settings.at(settings.initial) if self.is_gradual else settings
            masks = iter(now.masks([w for ws in weights for w in ws]))
            for node, ws in zip(members, weights, strict=True):
                outcome = settings.shrink(node, [(w, next(masks)) for w in ws], ctx.plan)
                if isinstance(outcome, Change):
                    changes.append(outcome)
                    formats.update(_sparse(node, ws, ctx.plan))
                else:
                    skipped.append(outcome)
        return PassResult(new, tuple(changes), tuple(skipped), formats)

    def gradually(self, model: Any) -> GradualPruning:
        groups = [
            (settings, [w for node in members for w in settings.selectable(node)])
            for settings, members in _alike(self.select(model).chosen)
        ]

        def removed(progress: float) -> list[tuple[Any, magnitude.Mask]]:
            left = max(0.0, 1 - progress / self.until) ** 3
            found: list[tuple[Any, magnitude.Mask]] = []
            for settings, weights in groups:
                share = settings.share + (settings.initial - settings.share) * left
                found += zip((w.variable for w in weights), settings.at(share).masks(weights), strict=True)
            return found

        return GradualPruning(removed, self.until, self.regrow)

    def at(self, share: float) -> Self:
        """These settings with another share to zero."""
        return self.model_copy(update={"sparsity": share, "keep": None})

    def masks(self, weights: Sequence[Weight]) -> list[magnitude.Mask]:
        """One mask per weight, true where it is selected."""
        values = [w.values for w in weights]
        if self.threshold is not None:
            return [magnitude.below(v, self.threshold) for v in values]
        if self.n is not None and self.m is not None:
            axes = [self.group_axis(w) for w in weights]
            return [
                np.zeros(v.shape, bool) if axis is None else magnitude.n_of_m(v, self.n, self.m, axis)
                for v, axis in zip(values, axes, strict=True)
            ]
        if self.ranking == "global":
            return magnitude.smallest(values, self.share)
        return [magnitude.smallest([v], self.share)[0] for v in values]

    def shrink(self, node: Node, masked: Sequence[tuple[Weight, magnitude.Mask]], plan: QuantPlan) -> Change | Skip:
        """Apply the masks to one layer, on the grid of weights that have one; a Skip if that changes nothing."""
        pairs = []
        for weight, mask in masked:
            shrunk = np.where(mask, weight.values - weight.values * self.amount, weight.values)
            weight_format = plan.weights.get(node.qualified(weight))
            pairs.append((weight.variable, weight_format.nearest(shrunk) if weight_format else shrunk))
        if all(np.array_equal(new, w.values) for (_, new), (w, _) in zip(pairs, masked, strict=True)):
            return Skip(node.name, "no weight is selected that is not zero already")
        assign(pairs)
        selected, total = sum(int(mask.sum()) for _, mask in masked), sum(mask.size for _, mask in masked)
        verb = "zeroed" if self.amount == 1 else f"shrunk by {self.amount:g}"
        return Change(node.name, f"{selected:,} of {total:,} weights {verb}")


def _sparse(node: Node, weights: Sequence[Weight], plan: QuantPlan) -> dict[str, WeightFormat]:
    """The formats of the weights that are on a grid, whose zeros stay from now on."""
    names = [node.qualified(weight) for weight in weights]
    return {name: replace(plan.weights[name], sparse=True) for name in names if name in plan.weights}


def _alike(chosen: Sequence[tuple[Node, Pass]]) -> list[tuple[PruneMagnitude, list[Node]]]:
    """Group layers that have the same settings, so that a global ranking ranks those together."""
    groups: dict[str, tuple[PruneMagnitude, list[Node]]] = {}
    for node, settings in chosen:
        assert isinstance(settings, PruneMagnitude)
        key = settings.model_dump_json(exclude={"layers", "skip", "rules"})
        groups.setdefault(key, (settings, []))[1].append(node)
    return list(groups.values())
