"""Several model files side by side, the first one as the reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompress import backend
from kcompress.data import resolve
from kcompress.formats import find
from kcompress.formats.base import Tensors
from kcompress.measure.files import FileFigures
from kcompress.measure.quality import Quality
from kcompress.progress import Hooks
from kcompress.run.options import CompareOptions
from kcompress.settings import documented
from kcompress.typing import DataLike, PathLike


@dataclass(frozen=True)
class Comparison:
    """One file's figures, and its quality against the first file; None without test data."""

    figures: FileFigures
    quality: Quality | None

    def to_json(self) -> dict[str, Any]:
        return {**vars(self.figures), "quality": None if self.quality is None else vars(self.quality)}


@documented(CompareOptions)
def compare(
    models: Sequence[PathLike],
    *,
    metric: str | None = None,
    reports: Sequence[PathLike] = (),
    overwrite: bool = False,
    trust: Sequence[str] = (),
    test: DataLike = None,
    hooks: Hooks | None = None,
) -> list[Comparison]:
    """Measure every file with the runtime that runs it, and its quality against the first.

    Args:
        models: Paths of model files; quality is given against the first.
        {settings}
        hooks: How progress and events are shown; not at all without it.

    Raises:
        KCompressError: with one line, if a file cannot be read, or takes other inputs than the first.
    """
    options = CompareOptions.of(locals())
    from kcompress.measure import scoring
    from kcompress.measure.files import measure_file
    from kcompress.measure.quality import evaluate

    hooks = hooks or Hooks()
    files = [Path(model) for model in models]
    for file in files:
        find(file)
    data = resolve(test=options.test).test if options.test is not None else None
    backend.load()
    named = None if options.metric is None else scoring.metric_named(options.metric)
    figures, runners = [], []
    sample: Tensors | None = None
    for file in files:
        with hooks.progress(f"measuring {file.name}", None):
            if data is not None and sample is None:
                data = data.fit_to(find(file).open(file, options.trust).inputs)
                sample = next(data.inputs(1, limit=1))
            figure, runner = measure_file(file, sample, options.trust)
        figures.append(figure)
        runners.append(runner)
    if data is None:
        return [Comparison(figure, None) for figure in figures]
    with hooks.progress("measuring quality", data.samples) as advance:
        verdicts = evaluate(runners[0], runners, data, named, advance)
    return [Comparison(figure, verdict) for figure, verdict in zip(figures, verdicts, strict=True)]


def to_json(found: Sequence[Comparison]) -> dict[str, Any]:
    """`{"kcompress", "reference", "models": [...]}`, one entry per file in the order given."""
    from kcompress import __version__

    return {"kcompress": __version__, "reference": found[0].figures.path, "models": [c.to_json() for c in found]}


def show(found: Sequence[Comparison]) -> None:
    """Print one table, a row per file."""
    from kcompress.report.rows import Table, count, size
    from kcompress.report.terminal import show_tables

    first = next((c.quality.metric for c in found if c.quality and c.quality.metric), "quality")
    header = (
        "model",
        "bytes",
        "gzip",
        "nonzero",
        "bits/weight",
        first,
        "drop (95 %)",
        "agreement",
        "p50 ms",
        "p95 ms",
        "memory",
    )
    rows = []
    for entry in found:
        f, q = entry.figures, entry.quality
        interval = f" ({q.ci95[0]:.2f} to {q.ci95[1]:.2f})" if q and q.ci95 else ""
        rows.append(
            (
                f.path,
                count(f.bytes),
                count(f.gzip_bytes),
                count(f.nonzero),
                f"{f.bits_per_weight:.2f}",
                "-" if q is None or q.artifact is None else f"{q.artifact:.4f}",
                "-" if q is None or q.drop is None else f"{q.drop:.2f}{interval}",
                "-" if q is None or q.agreement is None else f"{q.agreement:.4f}",
                f"{f.latency_ms['p50']:.3f}",
                f"{f.latency_ms['p95']:.3f}",
                size(f.peak_memory_bytes),
            )
        )
    show_tables([Table(f"Compared with {found[0].figures.path}", header, tuple(rows))], [])
