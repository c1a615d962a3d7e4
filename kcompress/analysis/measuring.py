"""Each layer alone at each level, from mild to severe, until it is clearly bad.

A pass runs once per level over all layers; then only one layer's new weights at a time go into the model, of which the
stages that they reach are run again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kcompress.analysis.changes import changes
from kcompress.analysis.effects import Effect, Sensitivity
from kcompress.analysis.kept import Kept, Level
from kcompress.analysis.levels import Sweep, sweeps
from kcompress.analysis.probe import BAD_DISTORTION, BAD_DROP, Probe, Reference, Score
from kcompress.data import Dataset, Splits
from kcompress.errors import DataError, UsageError
from kcompress.measure.scoring import Metric, metric_named
from kcompress.model.view import nodes
from kcompress.passes.base import Context, Need, Pass
from kcompress.passes.capabilities import Layers
from kcompress.passes.statistics import Statistics
from kcompress.progress import Hooks
from kcompress.run import preflight
from kcompress.run.options import Budgets


def measure(
    model: Any,
    splits: Splits,
    *,
    fields: Mapping[str, Sequence[float]] | None = None,
    samples: int = 512,
    metric: str | None = None,
    seed: int = 0,
    hooks: Hooks | None = None,
    key: str | None = None,
) -> Sensitivity:
    """How far a model's outputs move when one layer, or set of coupled layers, alone is changed.

    Args:
        model: a Keras model, which is not modified.
        splits: data that was fitted to the model. Every fifth sample of the training split is looked at, or the
            calibration data where there is none; test data never is.
        fields: `PASS:FIELD`, such as `quantize.weights:bits`, to the levels to try; a choice of all kinds without it.
        samples: how many samples to look at, at most; fewer where they would not fit into memory.
        metric: name of a Keras metric; accuracy for class labels, else mean absolute error, without it.
        key: what identifies the model and the data, as `key_of` gives; figures are kept under it for the next time.

    Raises:
        KCompressError: with one line, for fields, levels or data that cannot be.
    """
    todo = sweeps(fields)
    if samples < 1:
        raise UsageError(f"samples={samples} is not at least 1; give the number of samples to look at, such as 512")
    preflight.needs([step for sweep in todo for _, step in sweep.steps], splits, Budgets(), None)
    named = None if metric is None else metric_named(metric)
    if named is not None and not judged(splits).labelled:
        raise UsageError(f"metric={metric} needs labels; give labelled data with --data, or leave it out")
    kept = Kept(key, samples, seed, metric)
    work = _Work(model, splits, samples, named, seed, hooks or Hooks(), kept)
    effects: list[Effect] = []
    skipped: dict[str, Mapping[str, str]] = {}
    for sweep in todo:
        found, left = work.sweep(sweep)
        effects += found
        skipped[sweep.name] = left
    weights = {node.name: sum(w.values.size for w in node.kernels) for node in nodes(model) if node.kernels}
    return Sensitivity(tuple(effects), skipped, work.reference, weights)


def judged(splits: Splits) -> Dataset:
    """The data that settings are judged on: a share of the training split, or calibration data; UsageError if none."""
    data = splits.training or splits.calibration
    if data is None:
        raise UsageError("sensitivity is measured on training or calibration data; give it with --data")
    try:
        return data.halves()[1]
    except DataError:  # too few samples, or in another order each time
        return data


@dataclass
class _Work:
    """What is measured on, and what is known already."""

    model: Any
    splits: Splits
    samples: int
    metric: Metric | None
    seed: int
    hooks: Hooks
    kept: Kept
    order: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.order = {node.name: number for number, node in enumerate(nodes(self.model))}

    @cached_property
    def probe(self) -> Probe:
        """Made only where something has to be run."""
        with self.hooks.progress("computing the model's outputs", None):
            probe = Probe(self.model, judged(self.splits), self.samples, self.metric)
        self.kept.keep_reference(probe.reference)
        return probe

    @cached_property
    def reference(self) -> Reference:
        return self.kept.reference() or self.probe.reference

    def sweep(self, sweep: Sweep) -> tuple[list[Effect], dict[str, str]]:
        """The effects of all levels, by layers, and the layers that no level changes, with the reason."""
        bad: dict[Layers, Score] = {}
        found: dict[Layers, dict[float, tuple[Score, bool]]] = {}
        skipped: dict[str, str] = {}
        with self.hooks.progress(sweep.name, len(sweep.steps)) as advance:
            for value, step in sweep.steps:
                level = self.level(sweep, value, step, bad)
                for layers, score in level.scores.items():
                    cut = layers in bad
                    own = bad[layers] if cut else score
                    assert own is not None
                    found.setdefault(layers, {})[value] = own, cut
                    if not cut and self.is_bad(own):
                        bad[layers] = own
                skipped = {**level.skipped, **skipped}
                advance(1)
        effects = [
            Effect(sweep.pass_name, sweep.field, layers, value, score.distortion, score.drop, score.agreement, cut)
            for layers in sorted(found, key=lambda layers: min(self.order[name] for name in layers))
            for value, _ in sweep.steps
            for score, cut in [found[layers].get(value, (self.reference.unchanged, False))]
        ]
        changed = {name for layers in found for name in layers}
        return effects, {layer: reason for layer, reason in skipped.items() if layer not in changed}

    def level(self, sweep: Sweep, value: float, step: Pass, bad: Mapping[Layers, Score]) -> Level:
        """The scores of all layers that are not known to be bad already; as kept, where all of them are."""
        level = self.kept.level(sweep.name, value)
        if level is not None and all(score is not None or layers in bad for layers, score in level.scores.items()):
            return level
        known = {} if level is None else level.scores
        calibration = self.splits.calibration if Need.CALIBRATION in step.required else None
        context = Context(
            Splits(self.splits.training, calibration, None), self.seed, statistics=Statistics.of((step,), self.model)
        )
        made = changes(self.model, step, context)
        scores = {
            layers: known.get(layers) or (None if layers in bad else self.probe.score(replaced))
            for layers, replaced in made.replaced.items()
        }
        level = Level(scores, made.skipped)
        self.kept.keep_level(sweep.name, value, level)
        return level

    def is_bad(self, score: Score) -> bool:
        return score.distortion > BAD_DISTORTION or (
            self.reference.in_points and score.drop is not None and score.drop > BAD_DROP
        )
