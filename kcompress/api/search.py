"""The search of a model file: check everything that can be checked, try candidates, rebuild the best, report."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress import recipe as recipes
from kcompress.api.compress import compress, saved
from kcompress.cache import digest_of_model
from kcompress.data import Splits, resolve
from kcompress.errors import UsageError
from kcompress.files import put
from kcompress.formats import Format
from kcompress.measure.memory import settled
from kcompress.progress import Hooks
from kcompress.report import Report
from kcompress.run import preflight
from kcompress.run.options import Budgets
from kcompress.settings import documented
from kcompress.tuning import groups
from kcompress.tuning.choice import nothing, ranked
from kcompress.tuning.files import Files
from kcompress.tuning.final import Order, Rebuilt, discard, rebuild
from kcompress.tuning.job import Job
from kcompress.tuning.ledger import Ledger
from kcompress.tuning.marks import Value
from kcompress.tuning.options import EFFORT, SILENT_SECONDS, Engine, Sampler, SearchOptions
from kcompress.tuning.presets import preset
from kcompress.tuning.report import SearchReport, importances
from kcompress.tuning.samplers import grid
from kcompress.tuning.storage import open_storage, require
from kcompress.tuning.template import Template
from kcompress.tuning.trials import Plan
from kcompress.tuning.workers import run_trials
from kcompress.typing import Combination, DataLike, ModelLike, PassLike, PathLike

if TYPE_CHECKING:
    pass

RECIPE = ".recipe.yaml"
SHARE = "trials had a share of the training; what was rebuilt had all of it, and was judged on the test data"
SEEN = (
    "trials were judged on a fifth of the training data; where the source was trained on that, they seem to lose more "
    "than they do: give other data with --validation"
)
INFORMED = ("bayes", "pareto")
"""Samplers that learn from trials, and so from good ones to begin with."""


@documented(SearchOptions)
def search(
    model: ModelLike,
    output: PathLike,
    *,
    recipe: PathLike | None = None,
    passes: Sequence[PassLike] = (),
    data: DataLike = None,
    calibration: DataLike = None,
    test: DataLike = None,
    metric: str | None = None,
    teachers: Sequence[PathLike] = (),
    combine: Combination | None = None,
    max_drop: float | None = None,
    max_size: int | str | None = None,
    max_latency: float | None = None,
    max_macs: int | str | None = None,
    batch: int | None = None,
    seed: int = 0,
    reports: Sequence[PathLike] = (),
    overwrite: bool = False,
    trust: Sequence[str] = (),
    validation: DataLike = None,
    trials: int = 40,
    sampler: Sampler = "bayes",
    storage: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    engine: Engine = "process",
    effort: float = EFFORT,
    timeout: float | None = None,
    save_recipe: PathLike | None = None,
    silent_seconds: float = SILENT_SECONDS,
    hooks: Hooks | None = None,
) -> SearchReport:
    """Find the settings that make a model smallest within budgets, and write it.

    With `max_drop` the smallest file is looked for; with other budgets alone, the one that loses least. Passes may have
    marks in place of values, such as `{search: [0.5, 0.95]}`; without any, passes that suit the format are searched.
    Candidates are judged on validation data, or on a fifth of the training data without it. There the model may know
    samples by heart, so that candidates seem to lose more than they do; bayes and pareto then take what the mildest
    candidate loses for no loss. Test data judges only what is written.

    Args:
        model: The path of a saved model, or a Keras model.
        output: The path to write; its suffix picks the format: .keras, .tflite or .onnx.
        {settings}
        hooks: How progress and events are shown; not at all without it.

    Returns:
        The report; `report.exit_code` is 1 if a budget was not met by the best that was found.

    Raises:
        KCompressError: with one line, for anything that is wrong with what was given; nothing is written then.
    """
    started = time.perf_counter()
    require()
    options, output = SearchOptions.of(locals()), Path(output)
    options.check()
    recipe_path = options.save_recipe or output.with_name(f"{output.name}{RECIPE}")
    files = Files(output, recipe_path, options.reports)
    with tempfile.TemporaryDirectory() as scratch, settled():
        source = saved(model, Path(scratch))
        file_format = files.check(source, options.overwrite)
        splits = resolve(options.data, options.calibration, options.test)
        if splits.training is None:
            raise UsageError("candidates are judged on training data, and there is none; give it with --data")
        template = _template(options, file_format, splits)
        job = Job(
            source=source,
            suffix=output.suffix,
            template=template,
            limits=Budgets.of(options.limits),
            data=options.data,
            calibration=options.calibration,
            test=options.test,
            validation=options.validation,
            teachers=_teachers(template, file_format, splits, options),
            combine=options.combine,
            metric=options.metric,
            seed=options.seed,
            batch=options.batch,
            trust=options.trust,
            effort=options.effort,
            identity="" if isinstance(model, (str, Path)) else digest_of_model(model),
            smallest=options.max_drop is not None,
        )
        if options.storage is not None:
            open_storage(options.storage)
        job.splits()
        return _Search(job, splits, files, options, hooks or Hooks(), Path(scratch), started).run()


def _template(options: SearchOptions, file_format: Format, splits: Splits) -> Template:
    """The passes with marks in place of values, from the recipe and the options, or such as suit the format."""
    given = recipes.entries(options.recipe) if options.recipe is not None else []
    given += [("--apply", step) for step in options.passes]
    template = Template.of([recipes.mapping(step, where) for where, step in given] or preset(file_format, splits))
    groups.check(template)
    return template


def _teachers(template: Template, file_format: Format, splits: Splits, options: SearchOptions) -> tuple[Path, ...]:
    """The paths of teachers, once all that can be known wrong with the passes was looked for."""
    passes = preflight.combining(recipes.interleaved(template.passes(template.middle())), options.combine)
    preflight.holds(passes, file_format)
    unlabelled = splits.test is not None and not splits.test.labelled  # then agreement stands in for a metric
    preflight.needs(passes, splits, options.but(max_drop=None) if unlabelled else options, options.metric)
    preflight.files(passes)
    return tuple(preflight.teachers(passes, options.teachers, splits))


@dataclass(frozen=True)
class _Search:
    """A search that is checked, and about to begin."""

    job: Job
    splits: Splits
    files: Files
    options: SearchOptions
    hooks: Hooks
    scratch: Path
    started: float

    def run(self) -> SearchReport:
        """Try candidates, rebuild the best of them, write it, the recipe and the reports."""
        job, starts = self._layered()
        plan = self._plan(job)
        if plan.mildest is not None:
            starts = [dict(plan.mildest), *starts]
        if plan.kind == "grid":
            starts = grid(job.template.dimensions, plan.trials, job.seed)
            plan = replace(plan, trials=len(starts))
        ledger = run_trials(job, plan, self.options, starts, self.scratch, self.hooks)
        trials = ledger.trials()
        candidates = ranked(trials, ledger.gauged.limits, job.smallest)
        if not candidates:
            raise UsageError(nothing(trials))
        order = Order(candidates, ledger.gauged.fair, ranked(trials, ledger.gauged.doubting, job.smallest)[0])
        rebuilt = rebuild(
            order, job.limits, self.files.output, lambda trial: job.template.fill(trial.values), self._compress
        )
        try:
            return self._written(job, ledger, rebuilt)
        finally:
            discard(rebuilt)

    def _layered(self) -> tuple[Job, list[dict[str, Value]]]:
        """The job with its groups of layers, and values to begin with."""
        job, informed = self.job, self.options.sampler in INFORMED
        if not job.template.grouped:
            return job, job.template.starts() if informed else []
        layering = groups.Layering(job.source, self.splits, job.seed, job.trust, self.hooks)
        template = layering.apply(job.template)
        starts = [*layering.starts(template, job.limits), *template.starts()]
        return replace(job, template=template), starts if informed else []

    def _plan(self, job: Job) -> Plan:
        options = self.options
        within = job.limits.max_drop is not None
        more = {"grid": options.trials, "pareto": "pareto"}.get(options.sampler)
        return Plan(
            study=job.name(more),
            kind=options.sampler,
            trials=options.trials,
            limits=job.limits,
            seed=job.seed,
            smallest=job.smallest,
            deadline=options.deadline,
            gauged=within and job.shortened,
            mildest=job.template.severe(0.0) if within and job.seen and options.sampler in INFORMED else None,
            silent_seconds=options.silent_seconds,
        )

    def _compress(self, steps: list[dict[str, Any]], draft: Path) -> Report:
        """The run that the recipe stands for."""
        job = self.job
        return compress(
            job.source,
            draft,
            passes=steps,
            data=job.data,
            calibration=job.calibration,
            test=job.test,
            teachers=job.teachers,
            combine=job.combine,
            metric=job.metric,
            seed=job.seed,
            batch=job.batch,
            trust=job.trust,
            hooks=self.hooks,
        )

    def _written(self, job: Job, ledger: Ledger, rebuilt: Sequence[Rebuilt]) -> SearchReport:
        winner = rebuilt[-1]
        recipe = {"passes": winner.steps}
        report = SearchReport(
            winner=winner.report,
            trial=winner.trial.number,
            recipe=recipe,
            recipe_path=str(self.files.recipe),
            trials=tuple(ledger.trials()),
            rebuilt=tuple(rebuilt),
            importances=importances(ledger),
            groups=job.template.groups,
            limits=job.limits,
            fair=ledger.gauged.fair,
            hoped=ledger.gauged.limits,
            seconds=time.perf_counter() - self.started,
            notes=tuple(note for note, said in ((SHARE, job.shortened), (SEEN, job.seen)) if said),
        )
        report.write(self.files.reports)
        put({self.files.recipe: _yaml(recipe)})
        winner.draft.replace(self.files.output)
        return report


def _yaml(recipe: Mapping[str, Any]) -> bytes:
    import yaml

    text: str = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    return text.encode()
