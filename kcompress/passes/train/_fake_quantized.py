"""A model in training: it computes with what its plan quantizes, on grids whose scales are learned."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Self

from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.model.flow import flow
from kcompress.model.view import Node, Weight, nodes
from kcompress.passes.base import Context
from kcompress.passes.capabilities import GradualPruning
from kcompress.passes.statistics import batches
from kcompress.quantization.fake_quantized import fake_quantized_model, fixed_limits, ranges
from kcompress.quantization.learned_scales import LearnedScales, learned_scales
from kcompress.quantization.plan import Activations, LearnedRange, QuantPlan, WeightFormat


@dataclass(frozen=True)
class FakeQuantized:
    """The plan of a model in training, the ranges between its layers before it, and the scales that are learned."""

    plan: QuantPlan
    limits: Mapping[str, tuple[float, float]]
    fixed: Mapping[str, tuple[float, float]]
    scales: LearnedScales
    data: Dataset | None

    @classmethod
    def of(cls, model: Any, ctx: Context, pruning: GradualPruning | None = None) -> Self:
        """By the plan so far, with ranges on calibration data. Zeros in the weights that `pruning` removes stay."""
        pruned = {id(variable) for variable, _ in pruning.removed(0.0)} if pruning is not None else set()
        names = [n.qualified(w) for n in nodes(model) for w in n.weights if id(w.variable) in pruned]
        sparse = {name: replace(ctx.plan.weights[name], sparse=True) for name in names if name in ctx.plan.weights}
        plan = ctx.plan.updated(sparse)
        asked, data = ctx.plan.activations, ctx.data.calibration or ctx.data.training
        limits: dict[str, tuple[float, float]] = {}
        fixed: dict[str, tuple[float, float]] = {}
        if asked is not None and asked.mode == "static" and data is not None:
            ends = _ends(model)
            fixed = {point: limits for point, limits in fixed_limits(model).items() if point not in ends}
            seen = ranges(model, batches(model, data, asked.samples), asked.ranges != "minmax")
            limits = {point: asked.range_of(found) for point, found in seen.items() if point not in {*fixed, *ends}}
        return cls(plan, limits, fixed, learned_scales(model, plan, limits), data)

    def computing(self, model: Any) -> AbstractContextManager[None]:
        """Meanwhile, let the model compute as its fake-quantized model."""
        return fake_quantized_model(model, self.plan, {**self.limits, **self.fixed}, self.scales)

    def formats(self, model: Any) -> dict[str, WeightFormat]:
        """The formats of weights whose scales were learned."""
        return self.scales.formats(model, self.plan)

    def activations(self, model: Any) -> Activations | None:
        """How values are to be computed between the layers of the trained model, which computes as itself again."""
        asked = self.plan.activations
        if asked is None or not self.limits or self.data is None:
            return None
        seen, factors = ranges(model, batches(model, self.data, asked.samples)), self.scales.factors()
        found = []
        for point in filter(factors.__contains__, self.limits):
            low, high = (limit * float(factors[point][0]) for limit in self.limits[point])
            found.append(LearnedRange(seen[point].low, seen[point].high, seen[point].mean, low, high))
        return replace(asked, learned=tuple(found))

    def sparse(self, model: Any) -> dict[str, Any]:
        """The kernels whose zeros are to stay, by qualified name: not those where zero is but a level of a grid."""
        found = self._kernels(model)
        return {
            node.qualified(weight): weight.variable
            for node, weight, weight_format in found
            if weight_format is None or weight_format.sparse
        }

    def signs(self, model: Any) -> list[tuple[Any, NDArray[Any]]]:
        """The weights that one bit stands for, with their scales."""
        return [
            (weight.variable, weight_format.scales(tuple(weight.variable.shape)))
            for _, weight, weight_format in self._kernels(model)
            if weight_format is not None and weight_format.bits == 1
        ]

    def _kernels(self, model: Any) -> Iterator[tuple[Node, Weight, WeightFormat | None]]:
        """The kernels that are trained, with their layers, and their formats where they lie on whole numbers."""
        for node in nodes(model):
            for weight in node.kernels:
                if weight.variable.trainable:
                    weight_format = self.plan.weights.get(node.qualified(weight))
                    on_levels = weight_format is not None and weight_format.kind == "int"
                    yield node, weight, weight_format if on_levels else None


def _ends(model: Any) -> set[str]:
    """The points whose values go to nothing but a loss, which has no gradient where a probability was rounded to 0."""
    calls = flow(model)
    ends = {call.label for tensor in calls.outputs for call in calls.makers(tensor)}
    return ends - {
        call.label
        for call in calls.calls
        for tensor in call.outputs
        if any(user.label not in ends for user in calls.consumers[tensor])
    }
