"""Quality of source and artifact on the test set, in one pass over its batches.

Both models see the same samples, so the interval of the difference comes from the samples on which they differ. For
accuracy of one output it is the adjusted Wald interval of Bonett and Price ("Adjusted Wald Confidence
Interval for a Difference of Binomial Proportions Based on Paired Data", 2012), which does not collapse when no sample
differs; for other per-sample scores it is the mean difference ± 1.96 standard errors.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.errors import DataError, KCompressError, ModelError, one_line
from kcompress.formats import Runner, Tensors, by_position, run_batches
from kcompress.measure import scoring
from kcompress.measure.scoring import ACCURACY, ERROR, Metric

BATCH = 100
Z95 = 1.959963984540054
Array = NDArray[Any]


@dataclass(frozen=True)
class Quality:
    """What the artifact lost. `drop` is in points, positive if the artifact is worse; `ci95` is its 95 % interval."""

    metric: str | None
    samples: int
    source: float | None
    artifact: float | None
    drop: float | None
    ci95: tuple[float, float] | None
    agreement: float | None


@dataclass
class Totals:
    """Running sums over samples, so that memory does not grow with the data. Scores are a (source) and b (artifact):
    `squares` sums (a - b)², `worse` counts a > b and `better` a < b.
    """

    samples: int = 0
    source: float = 0.0
    artifact: float = 0.0
    squares: float = 0.0
    worse: float = 0.0
    better: float = 0.0
    agreement: float = 0.0
    metrics: list[Any] = field(default_factory=list)


def evaluate(
    source: Runner,
    artifacts: Sequence[Runner],
    data: Dataset,
    metric: Metric | None = None,
    advance: Callable[[int], None] = lambda _samples: None,
) -> list[Quality]:
    """Run all models over the test set once; one Quality per artifact. Inputs must fit those of the source.

    Raises DataError for an empty test set or labels that do not fit, ModelError if an artifact's inputs or outputs
    differ from the source's.
    """
    judge = Judge(data.name, source.outputs, metric, data.labelled)
    totals = [Totals() for _ in artifacts]
    for batch in data.fit_to(source.inputs).batches(BATCH):
        x = batch.x
        assert isinstance(x, dict)
        reference = run_batches(source, x)
        judge.check(batch.y, reference)
        for artifact, total in zip(artifacts, totals, strict=True):
            judge.add(total, batch.y, reference, _aligned(source, artifact, x))
        advance(len(reference[0]))
    if not totals or not totals[0].samples:
        raise DataError(f"{data.name}: no test samples; give a test set that is not empty")
    return [judge.verdict(total) for total in totals]


def check_labels(source: Runner, data: Dataset, metric: Metric | None = None) -> None:
    """Run one small batch through the source; DataError if the labels or the metric do not fit its outputs."""
    judge = Judge(data.name, source.outputs, metric, data.labelled)
    for batch in data.batches(BATCH, limit=BATCH):
        assert isinstance(batch.x, dict)
        outputs = run_batches(source, batch.x)
        judge.check(batch.y, outputs)
        judge.add(Totals(), batch.y, outputs, outputs)


def _aligned(source: Runner, artifact: Runner, x: Tensors) -> list[Array]:
    """Run an artifact on the source's inputs, by name where the names agree, else by position."""
    x = by_position(x, artifact.inputs)
    try:
        outputs = run_batches(artifact, x)
    except KCompressError:
        raise
    except Exception as error:  # of whichever runtime runs it
        raise ModelError(
            f"a model cannot run the test data ({one_line(error)}); compare models with the same inputs"
        ) from error
    if len(outputs) != len(source.outputs):
        raise ModelError(f"models have {len(source.outputs)} and {len(outputs)} outputs; compare like with like")
    if set(artifact.outputs) == set(source.outputs):
        order = [artifact.outputs.index(name) for name in source.outputs]
        return [outputs[i] for i in order]
    return outputs


class Judge:
    """Turns outputs and labels into per-sample scores, and totals into a verdict."""

    def __init__(self, name: str, outputs: Sequence[str], metric: Metric | None, labelled: bool) -> None:
        self.name, self.outputs, self.metric, self.labelled = name, tuple(outputs), metric, labelled
        self.kinds: list[scoring.Kind] = []
        self.thresholds: list[float] = []
        self.by_top1: list[bool] = []

    def check(self, y: Any, reference: list[Array]) -> None:
        """Check a batch's labels; on the first batch, also decide what kind they are of and choose the metric."""
        if not self.by_top1:
            self.thresholds = [0.5 if o.min() >= 0 and o.max() <= 1 else 0.0 for o in reference]
            if self.labelled:
                labels = scoring.labels_for(self.name, y, self.outputs)
                self.kinds = [
                    scoring.kind_of(self.name, n, label, o)
                    for n, label, o in zip(self.outputs, labels, reference, strict=True)
                ]
                if self.metric is None:
                    self.metric = ERROR if "values" in self.kinds else ACCURACY
            self.by_top1 = (
                [kind != "values" for kind in self.kinds]
                if self.kinds
                else list(map(scoring.is_distribution, reference))
            )
        if self.labelled:
            labels = scoring.labels_for(self.name, y, self.outputs)
            for name, kind, label, output in zip(self.outputs, self.kinds, labels, reference, strict=True):
                if kind == "classes":
                    scoring.check_classes(self.name, name, label, output.shape[-1])

    def add(self, total: Totals, y: Any, reference: list[Array], outputs: list[Array]) -> None:
        """Add a batch to the totals: its labels, the outputs of the source and those of the artifact."""
        total.samples += len(reference[0])
        total.agreement += float(np.mean([a.sum() for a in self._agreement(reference, outputs)]))
        if not self.labelled or self.metric is None:
            return
        labels = scoring.labels_for(self.name, y, self.outputs)
        if self.metric.make is not None:
            self._update_metrics(total, self.metric.make, labels, reference, outputs)
            return
        a, b = self._scores(labels, reference), self._scores(labels, outputs)
        total.source += float(a.sum())
        total.artifact += float(b.sum())
        total.squares += float(((a - b) ** 2).sum())
        total.worse += float((a > b).sum())
        total.better += float((a < b).sum())

    def _agreement(self, reference: list[Array], outputs: list[Array]) -> list[Array]:
        return [
            scoring.per_sample(scoring.top1(a, t) == scoring.top1(b, t)) if top1 else scoring.cosine(a, b)
            for a, b, t, top1 in zip(reference, outputs, self.thresholds, self.by_top1, strict=True)
        ]

    def _scores(self, labels: list[Array], outputs: list[Array]) -> Array:
        """Per-sample scores, averaged over outputs."""
        rows = [
            self._score(kind, label, output, threshold)
            for kind, label, output, threshold in zip(self.kinds, labels, outputs, self.thresholds, strict=True)
        ]
        return np.asarray(np.mean(rows, axis=0))

    def _score(self, kind: scoring.Kind, label: Array, output: Array, threshold: float) -> Array:
        assert self.metric is not None
        if self.metric.function is not None:
            import keras

            try:
                return scoring.per_sample(keras.ops.convert_to_numpy(self.metric.function(label, output)))
            except Exception as error:  # of a metric of Keras or of the user's
                raise DataError(
                    f"{self.name}: {self.metric.name} does not fit these labels ({one_line(error)})"
                ) from error
        if self.metric is ACCURACY and kind != "values":
            truth = label.argmax(-1) if kind == "one_hot" else label.reshape(output.shape[:-1])
            return scoring.per_sample(scoring.top1(output, threshold) == truth)
        if self.metric is ACCURACY:
            raise DataError(
                f"{self.name}: accuracy needs class labels, these are values; give --metric mean_absolute_error"
            )
        if kind == "classes":
            raise DataError(
                f"{self.name}: {self.metric.name} needs values of the output's shape; these are class indices"
            )
        return scoring.per_sample(np.abs(label.reshape(output.shape).astype(np.float64) - output))

    def _update_metrics(self, total: Totals, make: Any, labels: list[Array], a: list[Array], b: list[Array]) -> None:
        if not total.metrics:
            total.metrics = [[make() for _ in labels], [make() for _ in labels]]
        for metrics, outputs in zip(total.metrics, (a, b), strict=True):
            for metric, label, output in zip(metrics, labels, outputs, strict=True):
                try:
                    metric.update_state(label, output)
                except Exception as error:  # of a metric of Keras or of the user's
                    raise DataError(
                        f"{self.name}: {metric.name} does not fit these labels ({one_line(error)})"
                    ) from error

    def verdict(self, total: Totals) -> Quality:
        """The quality over all batches that were added."""
        n, agreement = total.samples, total.agreement / total.samples
        if not self.labelled or self.metric is None:
            return Quality(None, n, None, None, None, None, agreement)
        scale = self.metric.scale
        if total.metrics:
            source, artifact = (float(np.mean([np.mean(m.result()) for m in ms])) for ms in total.metrics)
            return Quality(self.metric.name, n, source, artifact, (source - artifact) * scale, None, agreement)
        source, artifact = total.source / n, total.artifact / n
        binary = self.metric is ACCURACY and len(self.outputs) == 1 and total.squares == total.worse + total.better
        low, high = bonett_price(total.worse, total.better, n) if binary else wald(source - artifact, total.squares, n)
        ends = sorted((low * scale, high * scale))
        drop = (source - artifact) * scale
        return Quality(self.metric.name, n, source, artifact, drop, (ends[0], ends[1]), agreement)


def bonett_price(worse: float, better: float, n: int) -> tuple[float, float]:
    """95 % interval of p_source - p_artifact from the counts of samples that only one of them gets right.

    >>> low, high = bonett_price(0, 0, 2000)
    >>> round(low, 4), round(high, 4)
    (-0.0014, 0.0014)
    """
    p, q = (worse + 1) / (n + 2), (better + 1) / (n + 2)
    half = Z95 * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return p - q - half, p - q + half


def wald(mean: float, squares: float, n: int) -> tuple[float, float]:
    """95 % interval of a mean difference from the sum of squared differences over n samples."""
    variance = max(0.0, squares / n - mean**2) * n / max(1, n - 1)
    half = Z95 * math.sqrt(variance / n)
    return mean - half, mean + half
