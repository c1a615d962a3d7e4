"""Everything about a run that can be known wrong before anything heavy is loaded: paths, suffixes, limits, needs."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress import backend, hosts
from kcompress.data.specs import path_of
from kcompress.errors import ModelError, OutputError, UsageError
from kcompress.files import check_file, kind_of
from kcompress.formats import Format, find, for_output, formats
from kcompress.hosts import Hosts, ResolvedHosts
from kcompress.passes.capabilities import (
    CombinesTeachers,
    ComputesActivations,
    PrunesGradually,
    ReadsModels,
    TrainsModel,
)
from kcompress.report.document import check as check_reports
from kcompress.run.options import Budgets, ReportOptions
from kcompress.typing import Combination

if TYPE_CHECKING:
    from kcompress.data import Splits
    from kcompress.passes.base import Pass


LONGEST_NAME = 255
"""Bytes of a file's name, as on most file systems."""


def paths(
    source: Path | None,
    output: Path,
    reports: Sequence[Path],
    overwrite: bool,
    writes: bool = True,
    others: Sequence[Any] = (),
) -> Format:
    """Check that the source can be read and the output written; return the output's format.

    `source` is None where the model is given as an object. `writes` is False in a process that leaves writing to
    another one. `others` is what else is read: data, a recipe, teachers; only paths are looked at.
    """
    file_format = for_output(output)
    if source is not None:
        readable(source)
    file_format.require(f"writing {output}", writing=True)
    if not writes:
        return file_format
    check_reports(reports)
    targets([source, *others], [output, *reports], overwrite)
    return file_format


def reports(inputs: Sequence[Any], options: ReportOptions) -> None:
    """Check that the reports of a command that writes nothing else can be written."""
    check_reports(options.reports)
    targets(inputs, options.reports, options.overwrite)


def targets(inputs: Sequence[Any], files: Sequence[Path], overwrite: bool) -> None:
    """Check that these files can be written: all of them different, none of them an input or there already."""
    read = [path for given in inputs for path in _paths_in(given)]
    for target in files:
        check_folder(target)
        if any(_is_part(target, path) for path in read):
            raise OutputError(f"{target}: is an input itself, which is only read; give another path to write to")
        if target.exists() and not overwrite:
            raise OutputError(f"{target}: exists already; pass --overwrite to replace it, or give another path")
    different = {(path.stat().st_dev, path.stat().st_ino) if path.exists() else path.resolve() for path in files}
    if len(different) < len(files):
        raise UsageError("the output and the reports must be different files; give each a path of its own")


def _paths_in(given: Any) -> list[Path]:
    """The existing files and folders that a setting names: a path, a SPEC of data, or several of them."""
    if isinstance(given, (list, tuple)):
        return [path for each in given if isinstance(each, (str, Path)) for path in _paths_in(each)]
    path = path_of(str(given)) if isinstance(given, (str, Path)) else None
    return [path] if path is not None and kind_of(path) else []


def _is_part(target: Path, given: Path) -> bool:
    """Whether what would be replaced is an input, by any path or link, or lies in a folder that is one."""
    if not target.exists():
        return False
    return target.samefile(given) or (given.is_dir() and target.resolve().is_relative_to(given.resolve()))


def check_folder(target: Path) -> None:
    """OutputError if a file could not be written at this path."""
    folder, kind = target.parent, kind_of(target)
    if "\0" in str(target):
        raise OutputError(f"{target}: a path cannot hold the character NUL; give another one")
    if (length := len(os.fsencode(target.name))) > LONGEST_NAME:
        raise OutputError(f"{target}: its name takes {length} bytes, at most {LONGEST_NAME} are possible; shorten it")
    if kind_of(folder) != "a folder":
        raise OutputError(f"{target}: no folder {folder}; make it first")
    if kind not in (None, "a file"):
        raise OutputError(f"{target}: is {kind}; give the path of a file")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{target}: the folder {folder} cannot be written to ({error.strerror}); give another path"
        ) from error


def holds(passes: "Sequence[Pass]", file_format: Format) -> None:
    """UsageError if a pass makes what the output's format cannot hold."""
    for each, after in zip(passes, (*passes[1:], None), strict=False):
        if isinstance(each, PrunesGradually) and each.is_gradual and not isinstance(after, TrainsModel):
            raise UsageError(
                f"{each.name}: it prunes while the pass behind it trains, and there is none that does; add one behind "
                "it, such as --apply train.finetune, or give schedule=constant"
            )
        if each.outputs is not None and file_format.name not in each.outputs:
            able = ", ".join(f".{name}" for name in sorted(each.outputs))
            raise UsageError(
                f"{each.name}: .{file_format.name} files do not hold what it makes; give an output that does ({able}), "
                "or another pass"
            )
        asked = each.computation() if isinstance(each, ComputesActivations) else None
        if asked is not None and asked.io != "float" and not file_format.integer_edges:
            able = ", ".join(f".{other.name}" for other in formats().values() if other.integer_edges)
            raise UsageError(
                f"{each.name}: .{file_format.name} files have no {asked.io} inputs and outputs; leave io out, or give "
                f"an output that does ({able})"
            )
        if asked is not None and (asked.mode, asked.bits) not in file_format.activations:
            others = [f".{other.name}" for other in formats().values() if (asked.mode, asked.bits) in other.activations]
            raise UsageError(
                f"{each.name}: .{file_format.name} files do not hold {asked.bits}-bit {asked.mode} activations; "
                f"give an output that does ({', '.join(others)}), or other settings"
            )


def teachers(passes: "Sequence[Pass]", given: Sequence[str | Path], data: "Splits") -> list[Path]:
    """The paths of teachers; UsageError if no pass learns from them so, ModelError if a file can't be one."""
    from kcompress.passes.base import Need

    found = [Path(path) for path in given]
    if found and not any(Need.TEACHER in each.needs for each in passes):
        raise UsageError(f"--teacher {found[0]}: no pass learns from a teacher; add one, such as --apply train.distill")
    for path in found:
        readable(path, "a teacher")
    for each in passes:
        how = each.combination if isinstance(each, CombinesTeachers) else None
        if how is not None and len(found) < 2:
            raise UsageError(
                f"{each.name}: combine={how} is for several teachers, {len(found)} given; give --teacher for each, or "
                "leave combine out"
            )
        if how not in (None, "average") and data.training is not None and not data.training.labelled:
            raise UsageError(
                f"{each.name}: combine={how} needs labels, and {data.training.name} has none; give data with them, or "
                "combine=average"
            )
    return found


def files(passes: "Sequence[Pass]") -> None:
    """ModelError if a file that a setting names can't be read as a model, UsageError if one is lacking."""
    for each in passes:
        for path in each.model_files() if isinstance(each, ReadsModels) else ():
            readable(path, f"a model for {each.name}")


def readable(path: Path, use: str = "") -> None:
    """ModelError unless a Keras model can be read from this path. `use` says what it is for, such as `a teacher`."""
    if use:
        check_file(path, ModelError, f"give the path of a saved model as {use}")
    origin = find(path)
    if not origin.reads:
        origin.read(path)  # raises with what can be done instead


def combining(passes: "Sequence[Pass]", how: Combination | None) -> "list[Pass]":
    """The passes, with `how` for those that combine teachers and do not say it themselves; UsageError if none does."""
    if how is None:
        return list(passes)
    if not any(isinstance(each, CombinesTeachers) for each in passes):
        raise UsageError(f"--combine {how}: no pass combines teachers; add one, such as --apply train.distill")
    return [each.combining(how) if isinstance(each, CombinesTeachers) else each for each in passes]


def distribution(passes: "Sequence[Pass]", kind: str | None, asked: Hosts | None) -> ResolvedHosts | None:
    """The processes that train together, None for one; UsageError if the backend can't do what is asked for."""
    if kind is None:
        if asked is not None and (asked.given or asked.timeout is not None):
            raise UsageError("--coordinator, --processes, --process and --timeout go with --distribute data or model")
        return None
    if not any(isinstance(each, TrainsModel) for each in passes):
        raise UsageError(f"--distribute {kind}: no pass trains; add one, such as --apply train.finetune")
    running = backend.select()
    if running not in ("tensorflow", "jax"):
        raise UsageError(f"--distribute {kind}: not with {running}; pass --backend jax or tensorflow")
    if kind == "model" and running != "jax":
        raise UsageError("--distribute model: TensorFlow can't split a Keras 3 model over devices; pass --backend jax")
    return hosts.resolve(asked, running)


def needs(passes: "Sequence[Pass]", data: "Splits", budget: Budgets, metric: str | None) -> None:
    """UsageError if a pass, a budget or a metric needs data that was not given."""
    from kcompress.passes.base import Need

    asked = "--max-drop" if budget.max_drop is not None else "--metric" if metric is not None else None
    if asked and (data.test is None or not data.test.labelled):
        raise UsageError(f"{asked} needs labelled test data; give it with --data or --test")
    given: dict[Any, Any] = {Need.CALIBRATION: data.calibration, Need.TRAINING: data.training}
    for each in passes:
        for need in sorted(each.required):
            if need in given and given[need] is None:
                option = "--calibration or --data" if need is Need.CALIBRATION else "--data"
                raise UsageError(f"{each.name}: needs {need}; give it with {option}")
