"""The search of a model file: check everything that can be checked, try candidates, rebuild the best, report."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress import backend
from kcompress import recipe as recipes
from kcompress.api.compress import compress
from kcompress.cache import digest_of_model
from kcompress.data import Splits, resolve
from kcompress.errors import UsageError
from kcompress.formats import Format
from kcompress.measure.memory import settled
from kcompress.progress import Hooks
from kcompress.report import Report
from kcompress.run import preflight
from kcompress.run.options import Budgets
from kcompress.run.publish import put
from kcompress.tuning import groups
from kcompress.tuning.choice import nothing, ranked
from kcompress.tuning.files import Files
from kcompress.tuning.final import Order, Rebuilt, discard, rebuild
from kcompress.tuning.job import EFFORT, Job
from kcompress.tuning.ledger import Ledger
from kcompress.tuning.marks import Value
from kcompress.tuning.options import Options
from kcompress.tuning.presets import preset
from kcompress.tuning.report import SearchReport, importances
from kcompress.tuning.rows import document
from kcompress.tuning.samplers import grid
from kcompress.tuning.storage import open_storage, require
from kcompress.tuning.template import Template
from kcompress.tuning.trials import SILENT_SECONDS, Plan
from kcompress.tuning.workers import run_trials

if TYPE_CHECKING:
    from kcompress.passes.base import Pass

RECIPE = ".recipe.yaml"
SHARE = "trials had a share of the training; what was rebuilt had all of it, and was judged on the test data"
SEEN = (
    "trials were judged on a fifth of the training data; where the source was trained on that, they seem to lose more "
    "than they do: give other data with --validation"
)
INFORMED = ("bayes", "pareto")
"""Samplers that learn from trials, and so from good ones to begin with."""


def search(
    model: Any,
    output: str | Path,
    *,
    data: object = None,
    recipe: str | Path | None = None,
    passes: "Sequence[str | dict[str, Any] | Pass]" = (),
    calibration: object = None,
    test: object = None,
    validation: object = None,
    teachers: Sequence[str | Path] = (),
    combine: str | None = None,
    metric: str | None = None,
    max_drop: float | None = None,
    max_size: int | str | None = None,
    max_latency: float | None = None,
    max_macs: int | str | None = None,
    trials: int = 40,
    sampler: str = "bayes",
    storage: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    engine: str = "process",
    effort: float = EFFORT,
    timeout: float | None = None,
    reports: Sequence[str | Path] = (),
    save_recipe: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    batch: int | None = None,
    trust: Sequence[str] = (),
    silent_seconds: float = SILENT_SECONDS,
    hooks: Hooks | None = None,
) -> SearchReport:
    """Find the settings that make a model smallest within budgets, and write it.

    With `max_drop` the smallest file is looked for; with other budgets alone, the one that loses least. Candidates are
    judged on validation data, or on a fifth of the training data without it; test data judges only what is written.

    Args:
        model, output, calibration, test, teachers, combine, metric, seed, batch, trust: as for `compress`.
        data: where samples come from; a training split is needed.
        validation: data that candidates are judged on, and the model was not trained on. Without it they are judged on
            what the model may know by heart, where they seem to lose more than they do; so bayes and pareto take what
            the mildest candidate loses there for no loss.
        recipe, passes: steps with marks in place of values, such as `{search: [0.5, 0.95]}`; without any, steps that
            suit the format.
        max_drop, max_size, max_latency, max_macs: budgets, as for `compress`; at least one, except for pareto.
        trials: how many candidates to try in all, those that an earlier search left in the storage among them.
        sampler: grid, random, bayes, or pareto, which looks for all that is best in size and drop together.
        storage: `sqlite:///FILE`, another database's URL, or the path of a .journal file; nothing is kept without it.
        workers: how many candidates to try at once, each in a process of its own where there are several.
        threads: how many threads each worker has; its share of the processors without it.
        engine: process, or ray for tasks of a Ray cluster.
        effort: the share of each training that a candidate gets; the winner gets all of it.
        timeout: minutes after which no candidate is begun.
        reports: files to write the report to: .json, .md, .html, .png or .svg.
        save_recipe: where to write the recipe of the winner; beside the output without it.
        silent_seconds: after how long without a sign of life a trial is given to another worker.

    Returns:
        The report; `report.exit_code` is 1 if a budget was not met by the best that was found.

    Raises:
        KCompressError: with one line, for anything that is wrong with what was given; nothing is written then.
    """
    started = time.perf_counter()
    require()
    hooks, output = hooks or Hooks(), Path(output)
    saved = output.with_name(f"{output.name}{RECIPE}") if save_recipe is None else Path(save_recipe)
    files = Files(output, saved, tuple(map(Path, reports)))
    source, identity = Path(model) if isinstance(model, (str, Path)) else None, ""
    budget = Budgets.of(locals())
    options = Options(sampler, trials, storage, workers, threads, engine, timeout, silent_seconds)
    options.check(budget)
    if not 0 < effort <= 1:
        raise UsageError(f"--effort {effort:g} is not in (0, 1]; give the share of the training, such as 0.33")
    form = files.check(source, overwrite)
    given = recipes.steps_of(Path(recipe)) if recipe is not None else []
    given += [("--apply", step) for step in passes]
    splits = resolve(data, calibration, test)
    if splits.training is None:
        raise UsageError("candidates are judged on training data, and there is none; give it with --data")
    template = Template.of([recipes.mapping(step, where) for where, step in given] or preset(form, splits))
    groups.check(template)
    others = _check(template, form, splits, budget, metric, combine, teachers)
    if storage is not None:
        open_storage(storage)
    with tempfile.TemporaryDirectory() as scratch, settled():
        if source is None:
            backend.load()
            source = Path(scratch, f"{model.name}.keras")
            model.save(source)
            identity = digest_of_model(model)
        job = Job(
            source=source,
            suffix=output.suffix,
            template=template,
            limits=budget,
            data=data,
            calibration=calibration,
            test=test,
            validation=validation,
            teachers=tuple(others),
            combine=combine,
            metric=metric,
            seed=seed,
            batch=batch,
            trust=tuple(trust),
            effort=effort,
            identity=identity,
            smallest=max_drop is not None,
        )
        job.splits()
        return _Search(job, splits, files, options, hooks, Path(scratch), started).run()


def _check(
    template: Template,
    form: Format,
    splits: Splits,
    budget: Budgets,
    metric: str | None,
    combine: str | None,
    teachers: Sequence[str | Path],
) -> list[Path]:
    """What can be known wrong before anything heavy is loaded; the paths of teachers."""
    steps = preflight.combining(recipes.interleaved(template.passes(template.middle())), combine)
    preflight.holds(steps, form)
    unlabelled = splits.test is not None and not splits.test.labelled  # then agreement stands in for a metric
    preflight.needs(steps, splits, budget.but(max_drop=None) if unlabelled else budget, metric)
    preflight.files(steps)
    return preflight.teachers(steps, teachers, splits)


@dataclass(frozen=True)
class _Search:
    """A search that is checked, and about to begin."""

    job: Job
    splits: Splits
    files: Files
    options: Options
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
        page = document(report)
        documents = {path: page.render(path.suffix.lower()) for path in self.files.reports}
        put({**documents, self.files.recipe: _yaml(recipe)})
        winner.draft.replace(self.files.output)
        return report


def _yaml(recipe: Mapping[str, Any]) -> bytes:
    import yaml

    text: str = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    return text.encode()
