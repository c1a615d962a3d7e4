"""The state of one run: what goes in, where it trains, the passes one after the other, and what is measured then."""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompress.cache import digest_of
from kcompress.data import Splits
from kcompress.errors import ModelError
from kcompress.formats import Format, Written, find
from kcompress.hosts import Team
from kcompress.measure.memory import release
from kcompress.model.cost import macs
from kcompress.model.view import nodes, nonzero, parameters
from kcompress.progress import Hooks
from kcompress.quantization.plan import QuantPlan
from kcompress.report import Budget, PassRecord, Report, SourceFigures
from kcompress.run.resume import Resume

if TYPE_CHECKING:
    from kcompress.measure.quality import Quality
    from kcompress.passes.base import Pass
    from kcompress.training.teachers import Teacher


class Run:
    """The state of one run."""

    def __init__(
        self,
        source: Path,
        form: Format,
        steps: "Sequence[Pass]",
        splits: Splits,
        teachers: Sequence[Path],
        seed: int,
        trust: Sequence[str],
        hooks: Hooks,
    ) -> None:
        self.teachers: tuple[Teacher, ...] = ()
        self._teachers = teachers
        self.source, self.form, self.steps, self.splits = source, form, steps, splits
        self.seed, self.trust, self.hooks = seed, trust, hooks

    def prepare(self, metric: str | None) -> tuple[list[Any], Any]:
        """Read the source and check that its weights, the data and the labels fit.

        Returns the model, in a list that `passes` empties so that it can be freed, and the named metric.
        """
        from kcompress.formats.keras.runner import KerasRunner
        from kcompress.measure import quality, scoring
        from kcompress.passes.base import Need
        from kcompress.training.teachers import Teacher, check_teacher

        with self.hooks.progress(f"reading {self.source.name}", None):
            model = find(self.source).read(self.source, self.trust)
            check_weights(self.source, model)
            runner = KerasRunner(model)
            named = None if metric is None else scoring.metric_named(metric)
            self.splits = self.splits.fit_to(runner.inputs)
            if self.splits.test is not None:
                quality.check_labels(runner, self.splits.test, named)
        identity = [_version(), digest_of(self.source), str(self.seed), self.form.name]
        if any(step.needs or step.rounds for step in self.steps):
            identity += [d.fingerprint() for d in (self.splits.training, self.splits.calibration) if d is not None]
        if any(Need.TEACHER in step.needs for step in self.steps):
            self.teachers = tuple(Teacher.from_file(path, self.trust) for path in self._teachers if path.is_file())
            identity += [teacher.digest for teacher in self.teachers]
            for teacher in self.teachers:
                if teacher.name != str(self.source):
                    check_teacher(teacher.name, teacher.load(), model)
        self.resume: Resume | None = Resume(identity, self.steps)
        self.source_parameters, self.source_macs = parameters(model), macs(model)
        del runner
        release()
        return [model], named

    def variant(self, steps: "Sequence[Pass]", hooks: Hooks) -> "Run":
        """This run, prepared and joined, with other passes that need no more than its own; it keeps nothing on disk."""
        other = copy.copy(self)
        other.steps, other.hooks, other.resume = steps, hooks, None
        return other

    def join(self, distribute: str | None, team: Team, seconds: float) -> None:
        """Settle where passes train, and check within so many seconds that all processes are about to do the same."""
        from kcompress.training.distribution import devices

        self.team, self.devices = team, devices(distribute)
        team.same("model, recipe, seed or data", "" if self.resume is None else self.resume.key, seconds)
        if distribute is not None:
            others = f" of {team.processes} processes" if team.processes > 1 else ""
            self.hooks.log(f"training on {self.devices.count} devices{others}{self.devices.remark}")

    def _resumed(self) -> tuple[int, Any, QuantPlan, list[PassRecord]]:
        """What an earlier run left, where it left the same to all processes."""
        if self.resume is None:
            return 0, None, QuantPlan(), []
        found = self.resume.find()
        return found if len(set(self.team.all("passes done", str(found[0])))) == 1 else self.resume.find(0)

    def passes(self, loaded: list[Any]) -> tuple[Any, QuantPlan, list[PassRecord]]:
        """Apply the passes that an earlier run of the same did not finish; at most two models are alive at a time."""
        from kcompress.passes.base import Context
        from kcompress.passes.statistics import Statistics

        original = loaded.pop()
        cost, shapes = self.source_macs, _shapes(original)
        done, model, plan, records = self._resumed()
        if done:
            self.hooks.log(f"resumed after {self.steps[done - 1].name}, pass {done} of {len(self.steps)}")
        else:
            model = original
        del original
        statistics = None
        for number, step in enumerate(self.steps[done:], done + 1):
            if statistics is None or not step.rounds:
                statistics = Statistics.of(self.steps[number - 1 :], model)
            context = Context(
                self.splits,
                self.seed,
                self.form.name,
                plan,
                self.hooks.progress,
                self.hooks.log,
                teachers=self.teachers,
                read=self.read,
                devices=self.devices,
                checkpoint=None if self.resume is None else self.resume.unfinished(number),
                companion=self.companion(number),
                statistics=statistics,
            )
            with self.hooks.progress(step.name, None):
                began = time.perf_counter()
                result = step.apply(model, context)
                seconds = time.perf_counter() - began
            model, plan = result.model, plan.updated(result.formats, result.activations or step.computation())
            release()
            if _shapes(model) != shapes:
                cost, shapes = macs(model), _shapes(model)
            records.append(
                PassRecord(
                    step.name,
                    step.config(),
                    seconds,
                    tuple({"layer": c.layer, "detail": c.detail, **c.figures} for c in result.changes),
                    tuple({"layer": s.layer, "reason": s.reason} for s in result.skipped),
                    parameters(model),
                    nonzero(model),
                    cost,
                    tuple(Budget(f"{step.name}:{g.name}", g.limit, g.reached, g.why) for g in result.goals),
                    tuple(s.layer for s in result.skipped if not (s.asked or s.expected)),
                    tuple(map(dict, result.history)),
                )
            )
            self.hooks.passed(number, model)
            kept = statistics.empty or not any(each.rounds for each in self.steps[number : number + 1])
            if self.resume is not None and kept:
                self.resume.keep(number, model, plan, records)  # else statistics would be of another model
        return model, plan, records

    def clear(self) -> None:
        """Drop what was kept to resume from: the run is done."""
        if self.resume is not None:
            self.resume.clear()

    def companion(self, number: int) -> "Pass | None":
        """The pass before pass `number`, counted from 1, if it goes on while that one trains."""
        before = self.steps[number - 2] if number > 1 else None
        return before if before is not None and before.accompanies and self.steps[number - 1].trains else None

    def read(self, path: Path) -> Any:
        """Read a model file that a pass names in its settings."""
        return find(path).read(path, self.trust)

    def measure(
        self,
        output: Path,
        target: Path,
        records: Sequence[PassRecord],
        float_layers: tuple[str, ...],
        written: Written,
        metric: Any,
        started: float,
    ) -> Report:
        """Measure source and artifact as files, and the artifact's quality against the source's."""
        from kcompress.measure.files import measure_file

        sample = self.splits.sample()
        with self.hooks.progress("measuring size and speed", None):
            before, reference = measure_file(self.source, sample, self.trust)
            after, runner = measure_file(target, sample, self.trust)
        verdict = self._quality(reference, runner, metric)
        return Report(
            version=_version(),
            source=SourceFigures(
                str(self.source), before.format, before.bytes, self.source_parameters, self.source_macs
            ),
            passes=tuple(records),
            artifact=replace(after, path=str(output)),
            float_layers=float_layers,
            quality=verdict,
            seconds=time.perf_counter() - started,
            source_file=before,
            notes=written.remarks,
        )

    def _quality(self, reference: Any, runner: Any, metric: Any) -> "Quality":
        from kcompress.measure.quality import Quality, evaluate

        if self.splits.test is None:
            return Quality(None, 0, None, None, None, None, None)
        with self.hooks.progress("measuring quality", self.splits.test.samples) as advance:
            return evaluate(reference, [runner], self.splits.test, metric, advance)[0]


def check_weights(path: Path, model: Any) -> None:
    """ModelError naming the first weight that is not a finite number."""
    for node in nodes(model):
        for weight in node.weights:
            values = weight.values
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                kind = "NaN" if np.isnan(values).any() else "infinity"
                raise ModelError(f"{path}: {node.qualified(weight)} holds {kind}; train or repair the model first")


def _shapes(model: Any) -> list[tuple[int, ...]]:
    return [tuple(v.shape) for v in model.weights]


def _version() -> str:
    from kcompress import __version__

    return __version__
