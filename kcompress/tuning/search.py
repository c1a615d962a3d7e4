"""A search, once all was checked: try candidates, rebuild the best, write the winner, its recipe and reports."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kcompress.data import Splits
from kcompress.errors import UsageError
from kcompress.files import whole, writing
from kcompress.progress import Hooks
from kcompress.report import Report
from kcompress.tuning.choice import ranked, why_none
from kcompress.tuning.job import Job
from kcompress.tuning.layer_groups import LayerGrouping
from kcompress.tuning.marks import Value
from kcompress.tuning.options import SearchOptions
from kcompress.tuning.rebuilding import RebuildOrder, RebuiltCandidate, discard, rebuild
from kcompress.tuning.report.outputs import SearchFiles
from kcompress.tuning.report.report import SearchReport, importances
from kcompress.tuning.samplers import grid
from kcompress.tuning.study import Study
from kcompress.tuning.trials import StudySettings
from kcompress.tuning.workers.start import run_trials

SHARE = "trials had a share of the training; what was rebuilt had all of it, and was judged on the test data"
SEEN = (
    "trials were judged on a fifth of the training data; where the source was trained on that, they seem to lose more "
    "than they do: give other data with --validation"
)
INFORMED = ("bayes", "pareto")
"""Samplers that learn from trials, and so from good ones to begin with."""


@dataclass(frozen=True)
class Search:
    """A search whose settings were checked."""

    job: Job
    splits: Splits
    files: SearchFiles
    options: SearchOptions
    hooks: Hooks
    scratch: Path
    compress: Callable[..., Report]
    """Makes a file of the source, as `kcompress.compress` does."""
    started: float

    def run(self) -> SearchReport:
        """Try candidates, rebuild the best of them, write it, the recipe and the reports."""
        job, starts = self._with_groups()
        plan = self._plan(job)
        if plan.mildest is not None:
            starts = [dict(plan.mildest), *starts]
        if plan.kind == "grid":
            starts = grid(job.template.dimensions, plan.trials, job.seed)
            plan = replace(plan, trials=len(starts))
        study = run_trials(job, plan, self.options, starts, self.scratch, self.hooks)
        trials = study.trials()
        candidates = ranked(trials, study.fidelity.limits, job.smallest)
        if not candidates:
            raise UsageError(why_none(trials))
        order = RebuildOrder(
            candidates,
            study.fidelity.unbiased_budgets,
            ranked(trials, study.fidelity.cautious_budgets, job.smallest)[0],
        )
        rebuilt = rebuild(
            order, job.limits, self.files.output, lambda trial: job.template.fill(trial.values), self._compress
        )
        try:
            return self._report(job, study, rebuilt)
        finally:
            discard(rebuilt)

    def _with_groups(self) -> tuple[Job, list[dict[str, Value]]]:
        """The job with its groups of layers, and values to begin with."""
        job, informed = self.job, self.options.sampler in INFORMED
        if not job.template.grouped:
            return job, job.template.starts() if informed else []
        layering = LayerGrouping(job.source, self.splits, job.seed, job.trust, self.hooks)
        template = layering.apply(job.template)
        starts = [*layering.starts(template, job.limits), *template.starts()]
        return replace(job, template=template), starts if informed else []

    def _plan(self, job: Job) -> StudySettings:
        options = self.options
        within = job.limits.max_drop is not None
        more = {"grid": options.trials, "pareto": "pareto"}.get(options.sampler)
        return StudySettings(
            study=job.name(more),
            kind=options.sampler,
            trials=options.trials,
            limits=job.limits,
            seed=job.seed,
            smallest=job.smallest,
            deadline=options.deadline,
            fidelity=within and job.shortened,
            mildest=job.template.severe(0.0) if within and job.seen and options.sampler in INFORMED else None,
            silent_seconds=options.silent_seconds,
        )

    def _compress(self, entries: list[dict[str, Any]], draft: Path) -> Report:
        """The run that the recipe stands for."""
        job = self.job
        return self.compress(
            job.source,
            draft,
            passes=entries,
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

    def _report(self, job: Job, study: Study, rebuilt: Sequence[RebuiltCandidate]) -> SearchReport:
        """Bring the winner, its recipe and the reports to their places."""
        winner = rebuilt[-1]
        recipe = {"passes": winner.entries}
        report = SearchReport(
            winner=winner.report,
            trial=winner.trial.number,
            recipe=recipe,
            recipe_path=str(self.files.recipe),
            trials=tuple(study.trials()),
            rebuilt=tuple(rebuilt),
            importances=importances(study),
            groups=job.template.groups,
            limits=job.limits,
            unbiased_budgets=study.fidelity.unbiased_budgets,
            trial_budgets=study.fidelity.limits,
            seconds=time.perf_counter() - self.started,
            notes=tuple(note for note, said in ((SHARE, job.shortened), (SEEN, job.seen)) if said),
        )
        with whole([self.files.output, self.files.recipe]) as (artifact, text):
            winner.draft.replace(artifact)
            with writing(self.files.recipe):
                text.write_bytes(_yaml(recipe))
            report.write(self.files.reports)
        return report


def _yaml(recipe: Mapping[str, Any]) -> bytes:
    import yaml

    text: str = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    return text.encode()
