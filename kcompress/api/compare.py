"""Several model files side by side, the first one as the reference."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompress import backend
from kcompress.data import resolve
from kcompress.formats import Tensors, find
from kcompress.formats.trusted import trusting
from kcompress.measure.files import FileFigures
from kcompress.measure.quality import Quality
from kcompress.progress import Hooks
from kcompress.report.document import Document, Result
from kcompress.report.table import NONE, Table, count, interval, size
from kcompress.run import preflight
from kcompress.run.options import CompareOptions
from kcompress.settings import documented
from kcompress.typing import DataLike, PathLike


@dataclass(frozen=True)
class Compared:
    """One file's figures, and its quality against the first file; None without test data."""

    figures: FileFigures
    quality: Quality | None

    def to_json(self) -> dict[str, Any]:
        return {**vars(self.figures), "quality": None if self.quality is None else vars(self.quality)}


@dataclass(frozen=True)
class Comparison(Result):
    """Files side by side, in the order given; the first is the reference."""

    models: tuple[Compared, ...]

    def __iter__(self) -> Iterator[Compared]:
        return iter(self.models)

    def __getitem__(self, number: int) -> Compared:
        return self.models[number]

    def __len__(self) -> int:
        return len(self.models)

    def to_json(self) -> dict[str, Any]:
        """`{"kcompress", "reference", "models": [...]}`, one entry per file in the order given."""
        from kcompress import __version__

        reference = self.models[0].figures.path
        return {"kcompress": __version__, "reference": reference, "models": [each.to_json() for each in self.models]}

    def document(self) -> Document:
        return Document(f"kcompress {self.to_json()['kcompress']}", self.to_json(), [table(self.models)], [])


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
) -> Comparison:
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
    preflight.reports([*files, options.test], options)
    data = resolve(test=options.test).test if options.test is not None else None
    backend.load()
    named = None if options.metric is None else scoring.metric_named(options.metric)
    with trusting(options.trust):
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
        verdicts: Sequence[Quality | None] = [None] * len(files)
        if data is not None:
            with hooks.progress("measuring quality", data.samples) as advance:
                verdicts = evaluate(runners[0], runners, data, named, advance)
    found = Comparison(tuple(Compared(*each) for each in zip(figures, verdicts, strict=True)))
    found.write(options.reports)
    return found


def table(found: Sequence[Compared]) -> Table:
    """A row per file."""
    metric = next((each.quality.metric for each in found if each.quality and each.quality.metric), "quality")
    figures = ("bytes", "gzip", "nonzero", "bits/weight")
    header = ("model", *figures, metric, "drop (95 %)", "agreement", "p50 ms", "p95 ms", "memory")
    return Table(f"Compared with {found[0].figures.path}", header, tuple(map(_row, found)))


def _row(entry: Compared) -> tuple[str, ...]:
    f, q = entry.figures, entry.quality
    return (
        f.path,
        count(f.bytes),
        count(f.gzip_bytes),
        count(f.nonzero),
        f"{f.bits_per_weight:.2f}",
        NONE if q is None or q.artifact is None else f"{q.artifact:.4f}",
        NONE if q is None or q.drop is None else f"{q.drop:.2f}{interval(q.ci95)}",
        NONE if q is None or q.agreement is None else f"{q.agreement:.4f}",
        f"{f.latency_ms['p50']:.3f}",
        f"{f.latency_ms['p95']:.3f}",
        size(f.peak_memory_bytes),
    )
