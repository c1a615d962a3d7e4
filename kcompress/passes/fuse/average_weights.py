"""Average the weights of models of one architecture: w = Σ share_i · w_i, in float64, rounded once."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import field_validator, model_validator

from kcompress.errors import UsageError
from kcompress.model.rebuild import assign, copy
from kcompress.model.view import Node, nodes
from kcompress.passes.base import Change, Context, Pass, PassResult, Skip
from kcompress.passes.capabilities import ReadsModels
from kcompress.passes.fuse._architecture import check_same
from kcompress.passes.movement import describe_movement
from kcompress.passes.selection import patterns
from kcompress.quantization.fake_quantized import bake


class FuseAverageWeights(Pass, ReadsModels):
    """Average the weights of models of the same architecture: the given one and those in `models`.

    Wortsman et al., "Model Soups: Averaging Weights of Multiple Fine-Tuned Models Improves Accuracy without Increasing
    Inference Time", 2022. It suits models that were trained from the same start. Zeros of the given model's kernels
    stay zero, and weights on a grid are put back on it; whole numbers are those of the given model. Means and variances
    of batch normalization are averaged too: train.finetune with a small learning_rate finds them anew.
    """

    models: tuple[str, ...] = ()
    """The files of the other models, such as [b.keras, c.keras]."""
    weights: tuple[float, ...] = ()
    """The shares of the given model and of each of the others, such as [2, 1, 1]; they need not sum to 1. Default the
    same for all."""

    _models_to_tuple = field_validator("models", mode="before")(patterns)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        count = len(self.models) + 1
        if self.weights and (len(self.weights) != count or min(self.weights) < 0 or not 0 < sum(self.weights) < np.inf):
            raise ValueError(
                f"weights={list(self.weights)} are no shares of {count} models, the given one first; give {count} "
                "numbers that are not negative"
            )
        for rule in self.rules:
            if "models" in rule.overrides:
                raise ValueError(f"rule for '{rule.layers[0]}': models are for all layers; a rule can set weights")
        return self

    def model_files(self) -> tuple[Path, ...]:
        if not self.models:
            raise UsageError(f"{self.name}: no models to average with; give models=[b.keras], files of the same kind")
        return tuple(map(Path, self.models))

    def concerns(self, node: Node, named: bool) -> bool | str:
        whole = [w for w in node.weights if w.learned and not _is_float(w)]
        if whole:
            return f"{whole[0].name} is stored as {whole[0].variable.dtype}, which can't be averaged"
        return any(map(_is_float, node.weights))

    def run(self, model: Any, ctx: Context) -> PassResult:
        selection = self.select(model)
        new = copy(model)
        if not self.models:
            left = (Skip(node.name, "there are no models to average with; give models") for node, _ in selection.chosen)
            return PassResult(new, (), (*left, *selection.skipped))
        others = []
        for path in self.models:
            other = ctx.read(Path(path))
            check_same(self.name, model, path, other)
            others.append({n.name: m for n, m in zip(nodes(model), nodes(other), strict=True)})
        after = {node.name: node for node in nodes(new)}
        for node, settings in selection.chosen:
            assert isinstance(settings, FuseAverageWeights)
            _average(after[node.name], [each[node.name] for each in others], settings.weights)
        bake(new, ctx.plan)
        count = len(others) + 1
        changes = tuple(
            Change(n.name, f"averaged over {count} models{describe_movement(n, after[n.name])}")
            for n, _ in selection.chosen
        )
        return PassResult(new, changes, selection.skipped)


def _is_float(weight: Any) -> bool:
    return str(weight.variable.dtype).startswith(("float", "bfloat"))


def _average(node: Node, others: list[Node], weights: tuple[float, ...]) -> None:
    """Set the weights of a layer to the mean of its own and those of the same layer in other models."""
    shares = np.asarray(weights or (1.0,) * (len(others) + 1), np.float64)
    for number, weight in enumerate(node.weights):
        if not _is_float(weight):
            continue
        own = weight.values
        parts = [own, *(other.weights[number].values for other in others)]
        mean = sum(share * part.astype(np.float64) for share, part in zip(shares / shares.sum(), parts, strict=True))
        assign([(weight.variable, np.where(own == 0, 0, mean) if weight.role == "kernel" else mean)])
