"""Make a model smaller: check everything that can be checked, then read, apply the passes, write, measure, judge.

Nothing appears at the output path before the file was written and measured whole; the source is only read.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kcompress import backend
from kcompress import recipe as recipes
from kcompress.codec import decode, encode
from kcompress.data import resolve
from kcompress.files import whole, writing
from kcompress.formats import WriteOptions, Written
from kcompress.formats.trusted import trusting
from kcompress.hosts import Hosts, ProcessGroup, ResolvedHosts, joined
from kcompress.leftovers import temporary_folder
from kcompress.memory import frozen_heap, release
from kcompress.passes.capabilities import ReadsModels
from kcompress.progress import Hooks
from kcompress.report import Report
from kcompress.run import preflight
from kcompress.run.apply import State, apply, finish, resumed
from kcompress.run.budgets import hold_to_strict, judge
from kcompress.run.measure import measure
from kcompress.run.options import CompressOptions
from kcompress.run.prepare import Prepared, RunInput, prepare, read_model
from kcompress.run.provenance import provenance
from kcompress.settings import documented
from kcompress.typing import Combination, DataLike, Distribution, ModelLike, PassLike, PathLike


@documented(CompressOptions)
def compress(
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
    overwrite: bool = False,
    seed: int = 0,
    reports: Sequence[PathLike] = (),
    trust: Sequence[str] = (),
    strict: bool = False,
    distribute: Distribution | None = None,
    hosts: Hosts | None = None,
    hooks: Hooks | None = None,
) -> Report:
    """Make a model smaller, write it, and measure what was written.

    Args:
        model: The path of a saved model, or a Keras model.
        output: The path to write; its suffix picks the format: .keras, .tflite or .onnx.
        {settings}
        hosts: The processes that train together on several hosts (JAX). What it leaves open is what the environment
            says. Process 0 writes; the others get its report.
        hooks: How progress and events are shown; not at all without it.

    Returns:
        The report; `report.exit_code` is 1 if a budget was not met.

    Raises:
        KCompressError: with one line, for anything that is wrong with what was given; nothing is written then.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> report = compress("fixtures/lenet300.keras", f"{folder}/o.keras", passes=["prune.magnitude:sparsity=0.8"])
    >>> report.artifact.bytes < report.source.bytes / 4
    True
    """
    started = time.perf_counter()
    options, output = CompressOptions.of(locals()), Path(output)
    with temporary_folder() as scratch:
        given, resolved = _checked(saved(model, Path(scratch)), output, options, hosts)
        came_of = provenance(given.source, given.passes, options)
        backend.load()
        with trusting(given.trust), joined(resolved) as group, frozen_heap():
            given = replace(given, hooks=hooks or Hooks()) if group.first else given
            prepared, state = _applied(given, group, options.distribute, 0.0 if resolved is None else resolved.seconds)
            if group.first:
                with whole([output]) as (draft,):
                    with given.hooks.progress(f"writing {output.name}", None):
                        written = _write(prepared, state, draft, options)
                    records = state.records
                    del state
                    release()
                    report = measure(prepared, records, written, came_of, draft, output)
                    report = replace(report, seconds=time.perf_counter() - started, budgets=judge(options, report))
                    report.write(options.reports)
                group.broadcast("report", encode(report))
            else:
                report = replace(decode(Report, group.broadcast("report")), first=False)
            finish(prepared)
    return report


def saved(model: ModelLike, folder: Path) -> Path:
    """The path of a model file; a Keras model is saved in the folder."""
    if isinstance(model, (str, Path)):
        return Path(model)
    path = folder / f"{model.name[:100]}.keras"
    with writing(path):
        folder.mkdir(exist_ok=True)
        model.save(path)
    return path


def _checked(
    source: Path, output: Path, options: CompressOptions, hosts: Hosts | None
) -> tuple[RunInput, ResolvedHosts | None]:
    """What the run is given, and the processes that train together, once all that can be known wrong was looked for."""
    passes = preflight.combining(recipes.resolve(options.recipe, options.passes), options.combine)
    resolved = preflight.distribution(passes, options.distribute, hosts)
    writes = resolved is None or resolved.process == 0
    inputs = [options.recipe, options.data, options.calibration, options.test, options.teachers]
    inputs += [list(each.model_files()) for each in passes if isinstance(each, ReadsModels)]
    file_format = preflight.paths(source, output, options.reports, options.overwrite, writes, inputs)
    preflight.holds(passes, file_format)
    data = resolve(options.data, options.calibration, options.test)
    preflight.needs(passes, data, options, options.metric)
    teachers = preflight.teachers(passes, options.teachers, data)
    preflight.files(passes)
    given = RunInput(
        source=source,
        file_format=file_format,
        passes=tuple(passes),
        data=data,
        teachers=tuple(teachers),
        metric=options.metric,
        seed=options.seed,
        trust=options.trust,
    )
    return given, resolved


def _applied(given: RunInput, group: ProcessGroup, distribute: str | None, seconds: float) -> tuple[Prepared, State]:
    """The run as it was prepared, and the model after all passes."""
    state = State(read_model(given.source, given.trust, given.hooks))
    prepared = prepare(given, state.model, group, distribute, seconds)
    release()
    state = resumed(prepared) or state
    while state.done < len(given.passes):
        state = apply(prepared, state)
    return prepared, state


def _write(prepared: Prepared, state: State, draft: Path, options: CompressOptions) -> Written:
    """Write the model; StrictError if anything was left alone or in float that should not be."""
    settings = WriteOptions(options.batch, prepared.data.calibration)
    with writing(draft):
        written = prepared.given.file_format.write(state.model, state.plan, draft, settings)
    if options.strict:
        hold_to_strict(state.records, written)
    return written
