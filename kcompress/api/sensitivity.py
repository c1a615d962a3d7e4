"""The analysis of a model file: read it and the data, measure, report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kcompress import backend
from kcompress.analysis.effects import Sensitivity
from kcompress.analysis.levels import parse, sweeps
from kcompress.analysis.measuring import judged, measure
from kcompress.analysis.options import SensitivityOptions
from kcompress.analysis.score_cache import key_of
from kcompress.data import resolve
from kcompress.formats.keras.runner import KerasRunner
from kcompress.formats.trusted import trusting
from kcompress.progress import Hooks
from kcompress.report.document import check
from kcompress.run import preflight
from kcompress.run.prepare import read_model
from kcompress.settings import documented
from kcompress.typing import DataLike, ModelLike, PathLike


@documented(SensitivityOptions)
def sensitivity(
    model: ModelLike,
    *,
    data: DataLike = None,
    calibration: DataLike = None,
    metric: str | None = None,
    seed: int = 0,
    reports: Sequence[PathLike] = (),
    overwrite: bool = False,
    trust: Sequence[str] = (),
    levels: Mapping[str, Sequence[float]] | Sequence[str] = (),
    samples: int = 512,
    hooks: Hooks | None = None,
) -> Sensitivity:
    """How much pruning and quantizing each layer of a model alone costs, at several levels.

    Levels are texts as `--levels` takes them, or a mapping such as `{"quantize.weights:bits": [8, 4]}`.

    Args:
        model: The path of a saved model, or a Keras model.
        {settings}
        hooks: How progress and events are shown; not at all without it.

    Raises:
        KCompressError: with one line, for anything that is wrong with what was given; nothing is written then.
    """
    started = time.perf_counter()
    options, hooks = SensitivityOptions.of(locals()), hooks or Hooks()
    fields = dict(options.levels) if isinstance(options.levels, Mapping) else parse(options.levels)
    source = Path(model) if isinstance(model, (str, Path)) else None
    _check(source, options)
    sweeps(fields)
    data = resolve(options.data, options.calibration)
    judged(data)
    backend.load()
    key, name = None, getattr(model, "name", "")
    with trusting(options.trust):
        if source is not None:
            model, key = read_model(source, options.trust, hooks), key_of(source, data)
        found = measure(
            model,
            data.fit_to(KerasRunner(model).inputs),
            fields=fields,
            samples=options.samples,
            metric=options.metric,
            seed=options.seed,
            hooks=hooks,
            key=key,
        )
    found = replace(found, source=str(source) if source is not None else name, seconds=time.perf_counter() - started)
    found.write(options.reports)
    return found


def _check(source: Path | None, options: SensitivityOptions) -> None:
    """What can be known wrong before anything heavy is loaded."""
    if source is not None:
        preflight.readable(source)
    check(options.reports, plotted=True)
    preflight.targets([source, options.data, options.calibration], options.reports, options.overwrite)
