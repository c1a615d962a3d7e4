"""Measures each layer alone at each level, from mild to severe, until the outputs are clearly bad.

A pass runs once per level over all layers. Then the new weights of one layer at a time are put into the model, and the
stages that depend on them are run again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kcompress.analysis.changes import changes
from kcompress.analysis.effects import Effect, Sensitivity
from kcompress.analysis.levels import Sweep, sweeps
from kcompress.analysis.probe import BAD_DISTORTION, BAD_DROP, Probe, Reference, Score
from kcompress.analysis.score_cache import LevelScores, ScoreCache
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
        fields: `PASS:FIELD`, such as `quantize.weights:bits`, to the levels to try; without it, those of `LEVELS`.
        samples: how many samples to look at, at most; fewer where they would not fit into memory.
        metric: name of a Keras metric; accuracy for class labels, else mean absolute error, without it.
        key: the cache key of the model and the data, by `key_of`, to store scores for the next time; None: not stored.

    Raises:
        KCompressError: with one line, for fields, levels or data that are not possible.
    """
    todo = sweeps(fields)
    if samples < 1:
        raise UsageError(f"samples={samples} is not at least 1; give the number of samples to look at, such as 512")
    preflight.needs([pass_ for sweep in todo for _, pass_ in sweep.passes], splits, Budgets(), None)
    named = None if metric is None else metric_named(metric)
    if named is not None and not judged(splits).labelled:
        raise UsageError(f"metric={metric} needs labels; give labelled data with --data, or leave it out")
    cache = ScoreCache(key, samples, seed, metric)
    measurement = _Measurement(model, splits, samples, named, seed, hooks or Hooks(), cache)
    effects: list[Effect] = []
    skipped: dict[str, Mapping[str, str]] = {}
    for sweep in todo:
        found, left = measurement.sweep(sweep)
        effects += found
        skipped[sweep.name] = left
    weights = {node.name: sum(w.values.size for w in node.kernels) for node in nodes(model) if node.kernels}
    return Sensitivity(tuple(effects), skipped, measurement.reference, weights)


def judged(splits: Splits) -> Dataset:
    """The data that settings are judged on: a share of the training split, or calibration data; UsageError if none."""
    data = splits.training or splits.calibration
    if data is None:
        raise UsageError("sensitivity is measured on training or calibration data; give it with --data")
    try:
        return data.train_test_split()[1]
    except DataError:  # too few samples, or in another order each time
        return data


@dataclass
class _Measurement:
    """The model and the data to measure on, and the cache of what was measured before."""

    model: Any
    splits: Splits
    samples: int
    metric: Metric | None
    seed: int
    hooks: Hooks
    cache: ScoreCache
    order: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.order = {node.name: number for number, node in enumerate(nodes(self.model))}

    @cached_property
    def probe(self) -> Probe:
        """Only made if something has to be run."""
        with self.hooks.progress("computing the model's outputs", None):
            probe = Probe(self.model, judged(self.splits), self.samples, self.metric)
        self.cache.store_reference(probe.reference)
        return probe

    @cached_property
    def reference(self) -> Reference:
        return self.cache.reference() or self.probe.reference

    def sweep(self, sweep: Sweep) -> tuple[list[Effect], dict[str, str]]:
        """The effects of all levels, by layers, and the layers that no level changes, with the reason."""
        bad: dict[Layers, Score] = {}
        found: dict[Layers, dict[float, tuple[Score, bool]]] = {}
        skipped: dict[str, str] = {}
        with self.hooks.progress(sweep.name, len(sweep.passes)) as advance:
            for value, pass_ in sweep.passes:
                level = self.level(sweep, value, pass_, bad)
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
            for value, _ in sweep.passes
            for score, cut in [found[layers].get(value, (self.reference.unchanged, False))]
        ]
        changed = {name for layers in found for name in layers}
        return effects, {layer: reason for layer, reason in skipped.items() if layer not in changed}

    def level(self, sweep: Sweep, value: float, pass_: Pass, bad: Mapping[Layers, Score]) -> LevelScores:
        """The scores of all layers that were not bad at a milder level; from the cache if it has all of them."""
        level = self.cache.level(sweep.name, value)
        if level is not None and all(score is not None or layers in bad for layers, score in level.scores.items()):
            return level
        known = {} if level is None else level.scores
        calibration = self.splits.calibration if Need.CALIBRATION in pass_.required else None
        context = Context(
            Splits(self.splits.training, calibration, None), self.seed, statistics=Statistics.of((pass_,), self.model)
        )
        made = changes(self.model, pass_, context)
        scores = {
            layers: known.get(layers) or (None if layers in bad else self.probe.score(values))
            for layers, values in made.new_values.items()
        }
        level = LevelScores(scores, made.skipped)
        self.cache.store_level(sweep.name, value, level)
        return level

    def is_bad(self, score: Score) -> bool:
        return score.distortion > BAD_DISTORTION or (
            self.reference.in_points and score.drop is not None and score.drop > BAD_DROP
        )
