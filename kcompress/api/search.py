"""The search of a model file: check everything that can be checked, try candidates, rebuild the best, report."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from kcompress import recipe as recipes
from kcompress.api.compress import compress, saved
from kcompress.cache import digest_of_model
from kcompress.data import Splits, resolve
from kcompress.errors import UsageError
from kcompress.formats import Format
from kcompress.leftovers import temporary_folder
from kcompress.memory import frozen_heap
from kcompress.progress import Hooks
from kcompress.run import preflight
from kcompress.run.options import Budgets
from kcompress.settings import documented
from kcompress.tuning.job import Job
from kcompress.tuning.layer_groups import check as check_groups
from kcompress.tuning.options import EFFORT, SILENT_SECONDS, Engine, Sampler, SearchOptions
from kcompress.tuning.presets import preset
from kcompress.tuning.report.outputs import SearchFiles
from kcompress.tuning.report.report import SearchReport
from kcompress.tuning.search import Search
from kcompress.tuning.storage import open_storage, quiet_optuna, require
from kcompress.tuning.template import Template
from kcompress.typing import Combination, DataLike, ModelLike, PassLike, PathLike

RECIPE = ".recipe.yaml"


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
    recipe_path = options.save_recipe or _recipe_beside(output)
    files = SearchFiles(output, recipe_path, options.reports)
    with temporary_folder() as scratch, frozen_heap(), quiet_optuna():
        source = saved(model, Path(scratch))
        read = (options.recipe, options.data, options.calibration, options.test, options.validation, options.teachers)
        file_format = files.check(source, read, options.overwrite)
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
        return Search(job, splits, files, options, hooks or Hooks(), Path(scratch), compress, started).run()


def _template(options: SearchOptions, file_format: Format, splits: Splits) -> Template:
    """The passes with marks in place of values, from the recipe and the options, or such as suit the format."""
    given = recipes.entries(options.recipe) if options.recipe is not None else []
    given += [("--apply", step) for step in options.passes]
    template = Template.of([recipes.mapping(step, where) for where, step in given] or preset(file_format, splits))
    check_groups(template)
    return template


def _teachers(template: Template, file_format: Format, splits: Splits, options: SearchOptions) -> tuple[Path, ...]:
    """The paths of teachers, once all that can be known wrong with the passes was looked for."""
    passes = preflight.combining(recipes.interleaved(template.passes(template.middle())), options.combine)
    preflight.holds(passes, file_format)
    unlabelled = splits.test is not None and not splits.test.labelled  # then agreement stands in for a metric
    preflight.needs(passes, splits, options.but(max_drop=None) if unlabelled else options, options.metric)
    preflight.files(passes)
    return tuple(preflight.teachers(passes, options.teachers, splits))


def _recipe_beside(output: Path) -> Path:
    """The output's name, or the beginning of a long one, with a suffix for recipes."""
    name = output.name if len(os.fsencode(output.name)) + len(RECIPE) <= preflight.LONGEST_NAME else output.name[:50]
    return output.with_name(f"{name}{RECIPE}")
