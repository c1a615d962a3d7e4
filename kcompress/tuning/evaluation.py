"""Builds candidates and measures them on validation data.

The source is read once. Each candidate's training is shorter than the recipe says, and nothing of it is kept.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import backend
from kcompress import recipe as recipes
from kcompress.data import Dataset
from kcompress.files import writing
from kcompress.formats import Runner, Tensors, WriteOptions, by_position, file_bytes, for_output
from kcompress.formats.trusted import trusting
from kcompress.leftovers import temporary_folder
from kcompress.memory import release
from kcompress.passes.base import Pass
from kcompress.passes.capabilities import TrainsModel
from kcompress.process_state import quiet_logger
from kcompress.progress import Hooks
from kcompress.report import PassRecord
from kcompress.run import preflight
from kcompress.run.apply import State, apply
from kcompress.run.prepare import RunInput, prepare, read_model
from kcompress.tuning.effort import shortened, untrained
from kcompress.tuning.figures import Figures, drop_of, total_excess
from kcompress.tuning.job import Job, at_most
from kcompress.tuning.marks import Value
from kcompress.tuning.trials import TrialRequest

EARLY_SAMPLES = 2_500
"""The most samples that tell whether to go on with a candidate."""
GIVEN_UP_AT = 5.0
"""A candidate is given up where the drop in the middle of its training is surely above so many times the budget."""
MARGIN = 1.05
"""What a file's size may change by training."""
KEPT_VALUES = 50_000_000
"""The most values of the source's outputs that are kept in memory."""


class TrialPruned(Exception):  # noqa: N818 - not an error: it ends a trial early
    """A candidate that is given up: why, and what is known of it."""

    def __init__(self, reason: str, figures: Figures) -> None:
        super().__init__(reason)
        self.reason, self.figures = reason, figures


class CandidateEvaluator:
    """Reads the source once and measures candidates one after the other."""

    def __init__(self, job: Job, hooks: Hooks | None = None) -> None:
        from kcompress.formats.keras.runner import KerasRunner

        self.job = job
        self.file_format = for_output(Path(f"candidate{job.suffix}"))
        splits, hooks = job.splits(), hooks or Hooks()
        backend.load()
        passes = tuple(self.passes(job.template.middle()))
        given = RunInput(
            job.source, self.file_format, passes, splits, job.teachers, job.metric, job.seed, tuple(job.trust), hooks
        )
        with trusting(job.trust), quiet_logger("tensorflow"):
            self.model = read_model(job.source, job.trust, hooks)
            self.run = prepare(given, self.model)
        assert self.run.data.test is not None
        self.judged: Dataset = self.run.data.test
        self.early_sample = at_most(self.judged, EARLY_SAMPLES)
        self.references = {id(data): _Kept(KerasRunner(self.model)) for data in (self.judged, self.early_sample)}

    def passes(self, values: Mapping[str, Value], effort: float | None = None) -> list[Pass]:
        """The passes of a candidate, shortened and taken apart as a run does it."""
        share = self.job.effort if effort is None else effort
        short = shortened(self.job.template.passes(values), share)
        return preflight.combining(recipes.interleaved(short), self.job.combine)

    def carry_out(self, request: TrialRequest) -> tuple[Figures, Figures | None]:
        """Measure the candidate of a trial, after all of the training too if it is request for; see `measure`."""
        figures = self.measure(request.values, request.best, request.max_drop)
        if not request.full_training:
            return figures, None
        return figures, self.full(request.values) if self.job.shortened else figures

    def measure(self, values: Mapping[str, Value], best: int | None = None, max_drop: float | None = None) -> Figures:
        """Build a candidate and measure it.

        `best` is the size to be beaten, `max_drop` what the candidate may lose; the budget without it. Raises
        TrialPruned where it is given up, KCompressError for values that nothing can be built from.
        """
        limit = self.job.limits.max_drop if max_drop is None else max_drop
        with trusting(self.job.trust), quiet_logger("tensorflow"):  # it warns of a function for each model
            passes = self.passes(values)
            preflight.holds(passes, self.file_format)
            self._outline(passes, best)
            glance = Hooks(passed=lambda number, model: self._judge_early(passes, number, model, limit))
            return self._built(passes, glance, True)

    def full(self, values: Mapping[str, Value]) -> Figures:
        """What a candidate comes to with all of the training."""
        with trusting(self.job.trust), quiet_logger("tensorflow"):
            return self._built(self.passes(values, 1.0), Hooks(), True)

    def _built(self, passes: Sequence[Pass], hooks: Hooks, whole: bool) -> Figures:
        """Apply the passes and write the file; measure quality and speed too where the candidate is `whole`."""
        run, state = self.run.variant(passes, hooks), State(self.model)
        while state.done < len(passes):
            state = apply(run, state)
        records = state.records
        with temporary_folder() as folder:
            target = Path(folder, f"candidate{self.job.suffix}")
            with writing(target):
                options = WriteOptions(self.job.batch, run.data.calibration)
                self.file_format.write(state.model, state.plan, target, options)
            del state
            release()
            figures = Figures(bytes=file_bytes(target), macs=self._macs(records), missed=_missed(records))
            if not whole:
                return figures
            runner = self.file_format.open(target, self.job.trust)
            if self.job.limits.max_latency is not None:
                figures = replace(figures, latency_ms=self._latency(runner))
            return self._judged(figures, runner, self.judged)

    def _macs(self, records: Sequence[PassRecord]) -> int | None:
        return records[-1].macs if records else self.run.macs

    def _latency(self, runner: Runner) -> float:
        from kcompress.measure.latency import latency_ms

        sample = self.run.data.sample()
        assert sample is not None
        return latency_ms(runner, by_position(sample, runner.inputs))["p50"]

    def _judged(self, figures: Figures, runner: Runner, data: Dataset) -> Figures:
        """The figures with those of quality."""
        from kcompress.measure.quality import evaluate

        reference = self.references[id(data)]
        reference.start()
        quality = evaluate(reference, [runner], data, self.run.metric)[0]
        return replace(figures, drop=drop_of(quality), ci95=quality.ci95, agreement=quality.agreement)

    def _outline(self, passes: Sequence[Pass], best: int | None) -> None:
        """Build the candidate without training first, where its size or its multiply-adds may rule it out."""
        outline, limits = untrained(passes), self.job.limits
        if outline is None or (best is None and limits.max_size is None and limits.max_macs is None):
            return
        figures = self._built(outline, Hooks(), False)
        assert figures.bytes is not None
        known = replace(figures, missed=())
        if total_excess(replace(known, bytes=int(figures.bytes / MARGIN)), limits.but(max_drop=None)) > 0:
            raise TrialPruned("over budget, whatever training does", known)
        if best is not None and figures.bytes > best * MARGIN:
            raise TrialPruned("not smaller than the best", known)

    def _judge_early(self, passes: Sequence[Pass], number: int, model: Any, limit: float | None) -> None:
        """Judge a model between two trainings; give it up where the drop is far beyond the budget."""
        from kcompress.formats.keras.runner import KerasRunner

        if limit is None or math.isinf(limit):
            return
        trains = [isinstance(each, TrainsModel) for each in passes]
        if not trains[number - 1] or not any(trains[number:]):
            return
        figures = self._judged(Figures(), KerasRunner(model), self.early_sample)
        least = figures.ci95[0] if figures.ci95 else figures.drop
        if least is not None and least > GIVEN_UP_AT * limit:
            raise TrialPruned(f"a drop of {figures.drop:.2f} after {passes[number - 1].name}", figures)


def _missed(records: Sequence[PassRecord]) -> tuple[str, ...]:
    return tuple(budget.name for record in records for budget in record.budgets if not budget.met)


class _Kept:
    """A runner that keeps its outputs, for the same batches in the same order."""

    def __init__(self, runner: Runner) -> None:
        self._runner, self.inputs, self.outputs = runner, runner.inputs, runner.outputs
        self._outputs: list[list[NDArray[Any]]] = []
        self._room, self._next = KEPT_VALUES, 0

    def start(self) -> None:
        """The next batch is the first one again."""
        self._next = 0

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        number, self._next = self._next, self._next + 1
        if number < len(self._outputs):
            return self._outputs[number]
        outputs = self._runner(x)
        self._room -= sum(int(np.size(output)) for output in outputs)
        if self._room >= 0 and number == len(self._outputs):
            self._outputs.append(outputs)
        return outputs
