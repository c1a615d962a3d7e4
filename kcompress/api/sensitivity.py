"""The analysis of a model file: read it and the data, measure, report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress import backend
from kcompress.analysis.effects import Sensitivity
from kcompress.analysis.heat import heat_map
from kcompress.analysis.kept import key_of
from kcompress.analysis.levels import parse, sweeps
from kcompress.analysis.measuring import judged, measure
from kcompress.analysis.rows import remarks, tables
from kcompress.data import resolve
from kcompress.errors import ModelError, OutputError
from kcompress.formats import find
from kcompress.formats.safety import trusting
from kcompress.progress import Hooks
from kcompress.report.document import Document, check
from kcompress.run import publish
from kcompress.run.preflight import check_folder
from kcompress.run.prepare import read_model

if TYPE_CHECKING:
    from kcompress.data import Splits


def sensitivity(
    model: Any,
    *,
    data: object = None,
    calibration: object = None,
    levels: Mapping[str, Sequence[float]] | Sequence[str] | None = None,
    samples: int = 512,
    metric: str | None = None,
    reports: Sequence[str | Path] = (),
    seed: int = 0,
    overwrite: bool = False,
    trust: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> Sensitivity:
    """How much pruning and quantizing each layer of a model alone costs, at several levels.

    Args:
        model: path of a saved model, or a Keras model.
        data, calibration: where samples come from; see `kcompress.data.resolve`. Every fifth sample of the training
            split is looked at; test data never is.
        levels: `{"quantize.weights:bits": [8, 4]}`, or texts as `--levels` takes them; a choice of all kinds without.
        samples: how many samples to look at, at most.
        metric: name of a Keras metric; accuracy for class labels, else mean absolute error, without it.
        reports: files to write what was found to: .json, .md, .html, .png or .svg.
        trust: modules whose classes a model file may use.

    Raises:
        KCompressError: with one line, for anything that is wrong with what was given; nothing is written then.
    """
    started = time.perf_counter()
    hooks, paths = hooks or Hooks(), [Path(path) for path in reports]
    source = Path(model) if isinstance(model, (str, Path)) else None
    fields = levels if levels is None or isinstance(levels, Mapping) else parse(levels)
    _check(source, paths, overwrite)
    sweeps(fields)
    splits = resolve(data, calibration)
    judged(splits)
    backend.load()
    with trusting(trust):
        found = _measured(model, source, splits, fields, samples, metric, seed, trust, hooks)
    found = replace(found, source=str(source or model.name), seconds=time.perf_counter() - started)
    if paths:
        report = document(found)
        publish.put({path: report.render(path.suffix.lower()) for path in paths})
    return found


def _check(source: Path | None, reports: list[Path], overwrite: bool) -> None:
    """What can be known wrong before anything heavy is loaded."""
    if source is not None:
        origin = find(source)
        if not source.is_file():
            raise ModelError(f"{source}: no such file; give the path of a saved model")
        if not origin.reads:
            origin.read(source)  # raises with what can be done instead
    check(reports)
    for path in reports:
        check_folder(path)
        if source is not None and path.exists() and path.samefile(source):
            raise OutputError(f"{path}: is the source itself, which is only read; give another path")
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: exists already; pass --overwrite to replace it, or give another path")


def _measured(
    model: Any,
    source: Path | None,
    splits: "Splits",
    fields: Mapping[str, Sequence[float]] | None,
    samples: int,
    metric: str | None,
    seed: int,
    trust: Sequence[str],
    hooks: Hooks,
) -> Sensitivity:
    from kcompress.formats.keras.runner import KerasRunner

    key = None
    if source is not None:
        model = read_model(source, trust, hooks)
        key = key_of(source, splits)
    fitted = splits.fit_to(KerasRunner(model).inputs)
    return measure(model, fitted, fields=fields, samples=samples, metric=metric, seed=seed, hooks=hooks, key=key)


def document(found: Sensitivity) -> Document:
    """What was found, for people and programs."""
    title = f"Sensitivity of {found.source}"
    return Document(title, found.to_json(), tables(found), remarks(found), lambda: heat_map(found))


def show(found: Sensitivity) -> None:
    """Print the tables and remarks."""
    from kcompress.report.terminal import show_tables

    show_tables(tables(found), remarks(found))
