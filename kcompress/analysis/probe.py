"""Compares a model's outputs with new values of some weights to its own outputs, on samples held in memory."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.analysis.forward import Forward
from kcompress.data import Dataset
from kcompress.errors import DataError
from kcompress.measure.quality import Judge, Totals
from kcompress.measure.scoring import Metric
from kcompress.model.signature import signature
from kcompress.numerics.logits import logits, ratio
from kcompress.passes.capabilities import NewValues
from kcompress.training.labelled import filled
from kcompress.training.losses.output_kind import output_kinds

BATCH = 128
VALUES = 50_000_000
"""The most values of inputs, and of outputs, that are held in memory."""

BAD_DROP, BAD_DISTORTION = 20.0, 1.0
"""Points lost and distortion from which a level is clearly bad, so that the more severe ones are not run."""


@dataclass(frozen=True)
class Score:
    """How far outputs are from the model's own; the fields are those of `Effect`."""

    distortion: float
    drop: float | None
    agreement: float


@dataclass(frozen=True)
class Reference:
    """What scores are relative to: the number of samples, the metric and the model's own value, None without labels."""

    samples: int
    metric: str | None
    source: float | None

    @property
    def unchanged(self) -> Score:
        """The score of outputs that are the same."""
        return Score(0.0, None if self.metric is None else 0.0, 1.0)

    @property
    def in_points(self) -> bool:
        """Whether a drop is in points, as that of accuracy is."""
        return self.metric is not None and Metric(self.metric, None).scale > 0


@dataclass(frozen=True)
class _OwnBatch:
    """A batch with the model's own weights: tensors that go into stages, labels, outputs and the logits of these."""

    kept: dict[int, Any]
    labels: Any
    outputs: list[NDArray[Any]]
    logits: list[NDArray[Any]]


class Probe:
    """Holds the samples and the model's own outputs.

    Raises DataError for data without samples, or with labels that do not fit the outputs.
    """

    def __init__(self, model: Any, data: Dataset, samples: int, metric: Metric | None = None) -> None:
        sign = signature(model)
        self._judge = Judge(data.name, sign.outputs, metric, data.labelled)
        self._batches: list[_OwnBatch] = []
        total, count = Totals(), min(samples, _most(model))
        kinds: list[Any] = []
        for batch in data.batches(sign.batch or BATCH, count):
            assert isinstance(batch.x, dict)
            inputs = {name: filled(x, sign.batch or batch.samples) for name, x in batch.x.items()}
            if not self._batches:
                self._forward = Forward(model, sign, inputs, count)
            kept, outputs = self._forward.unchanged(inputs)
            own = [array[: batch.samples] for array in outputs]
            self._judge.check(batch.y, own)
            self._judge.add(total, batch.y, own, own)
            if not kinds:
                kinds = output_kinds((model,), inputs, self._judge.kinds or None)[0]
            own_logits = [logits(output, kind) for output, kind in zip(own, kinds, strict=True)]
            self._batches.append(_OwnBatch(kept, batch.y, own, own_logits))
        if not self._batches:
            raise DataError(f"{data.name}: no samples; give data that is not empty")
        self._kinds = kinds
        self._signal = [sum(float((each.logits[n] ** 2).sum()) for each in self._batches) for n in range(len(kinds))]
        verdict = self._judge.verdict(total)
        self.reference = Reference(verdict.samples, verdict.metric, verdict.source)

    def score(self, new_values: NewValues) -> Score:
        """Run all samples with new values of some variables."""
        if not new_values:
            return self.reference.unchanged
        total, noise = Totals(), np.zeros(len(self._kinds))
        with np.errstate(all="ignore"):  # outputs that are not finite have an infinite distortion
            for batch in self._batches:
                found = self._forward.changed(new_values, batch.kept, batch.outputs)
                outputs = [array[: len(own)] for array, own in zip(found, batch.outputs, strict=True)]
                self._judge.add(total, batch.labels, batch.outputs, outputs)
                for number, kind in enumerate(self._kinds):
                    noise[number] += ((logits(outputs[number], kind) - batch.logits[number]) ** 2).sum()
        verdict = self._judge.verdict(total)
        distortion = float(np.mean([ratio(*each) for each in zip(noise.tolist(), self._signal, strict=True)]))
        return Score(distortion, verdict.drop, float(verdict.agreement or 0.0))


def _most(model: Any) -> int:
    """How many samples of a model's inputs and outputs fit into memory; at least one."""
    sizes = [
        sum(math.prod(size or 1 for size in tensor.shape[1:]) for tensor in tensors)
        for tensors in (model.inputs, model.outputs)
    ]
    return max(1, VALUES // max(1, *sizes))
