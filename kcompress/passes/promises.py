"""What every pass promises, and how that is checked: ContractError if a pass broke a promise."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kcompress.errors import ContractError
from kcompress.model.rebuild import fingerprint
from kcompress.model.signature import signature
from kcompress.model.view import nodes
from kcompress.passes.capabilities import TrainsModel
from kcompress.passes.result import PassResult
from kcompress.quantization.plan import QuantPlan

if TYPE_CHECKING:
    from kcompress.passes.base import Pass


@dataclass(frozen=True)
class Before:
    """A model before a pass: what the pass must not touch, and the layers that it must account for."""

    model: Any
    signature: tuple[Any, ...]
    fingerprint: str
    targets: set[str]

    @classmethod
    def of(cls, owner: "Pass", model: Any) -> Self:
        return cls(model, _signature(model), fingerprint(model), owner.select(model).targets)

    def check(self, owner: "Pass", result: PassResult, plan: QuantPlan) -> None:
        """Hold a result to the promises: model untouched, same inputs and outputs, layers accounted for, zeros kept."""
        name = owner.name
        if result.model is self.model or fingerprint(self.model) != self.fingerprint:
            raise ContractError(f"{name}: modified the model that it was given")
        if _signature(result.model) != self.signature:
            raise ContractError(f"{name}: changed the model's inputs or outputs")
        accounted = [change.layer for change in result.changes] + [skip.layer for skip in result.skipped]
        if set(accounted) != self.targets or len(accounted) != len(set(accounted)):
            off = sorted(self.targets.symmetric_difference(accounted)) or sorted(accounted)
            raise ContractError(f"{name}: layers neither or twice accounted for: {', '.join(off)}")
        _check_kept(owner, self.model, result, plan)


def _signature(model: Any) -> tuple[Any, ...]:
    sign = signature(model)
    outputs = [(tuple(t.shape), str(t.dtype)) for t in model.outputs]
    return sign.inputs, sign.dtypes, sign.outputs, outputs


def _check_kept(owner: "Pass", model: Any, result: PassResult, plan: QuantPlan) -> None:
    """Zeros in kernels stay zero, and weights on a grid stay on one, wherever the shape is unchanged.

    Training may move a weight from one level of a grid to another, also from zero, unless the zeros come from pruning.
    """
    trains = isinstance(owner, TrainsModel)
    levels = {name for name, stored in plan.weights.items() if trains and stored.kind == "int" and not stored.sparse}
    before = {node.qualified(w): w.values for node in nodes(model) for w in node.kernels}
    formats = plan.updated(result.formats).weights
    for node in nodes(result.model):
        for weight in node.weights:
            qualified, values = node.qualified(weight), weight.values
            was = before.get(qualified)
            alike = was is not None and (was.shape, was.dtype) == (values.shape, values.dtype)  # not packed since
            if alike and qualified not in levels and np.any(values[was == 0]):
                raise ContractError(f"{owner.name}: zeros of {qualified} did not stay zero")
            if qualified in formats and not formats[qualified].holds(values):
                raise ContractError(f"{owner.name}: {qualified} left its grid")
