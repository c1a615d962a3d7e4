"""A report against the files that it is about: what is measured again, and what differs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kcompress import backend
from kcompress.api.inspect import inspect
from kcompress.data import Dataset, resolve
from kcompress.data.specs import path_of
from kcompress.errors import ModelError, UsageError
from kcompress.files import check_file, kind_of
from kcompress.formats import find
from kcompress.formats.gate import MOST_BYTES, parsed
from kcompress.formats.trusted import trusting
from kcompress.progress import Hooks
from kcompress.report.document import Document, Result
from kcompress.report.report import Input
from kcompress.report.table import NONE, Table
from kcompress.run import preflight
from kcompress.run.options import VerifyOptions
from kcompress.run.provenance import sha256_of
from kcompress.settings import documented
from kcompress.typing import DataLike, PathLike
from kcompress.versions import versions

SIZES = ("format", "bytes", "gzip_bytes", "parameters", "nonzero", "bits_per_weight")
POINTS = 100


class RecordedFile(BaseModel):
    """A file that a report is about."""

    path: str
    sha256: str


class RecordedArtifact(RecordedFile):
    """The written file, with the figures in `SIZES`."""

    format: str
    bytes: int
    gzip_bytes: int
    parameters: int
    nonzero: int
    bits_per_weight: float


class RecordedQuality(BaseModel):
    """Quality on the test data; no samples where there were none."""

    samples: int
    source: float | None
    artifact: float | None
    agreement: float | None


class Recorded(BaseModel):
    """What a JSON report of `compress` says, as far as it can be measured again."""

    source: RecordedFile
    artifact: RecordedArtifact
    inputs: list[Input]
    quality: RecordedQuality
    settings: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True)
class Figure:
    """One figure, as the report has it and as it is."""

    name: str
    reported: Any
    measured: Any
    same: bool


@dataclass(frozen=True)
class Verification(Result):
    """All that was measured again; `notes` say what could not be."""

    report: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]

    @property
    def differences(self) -> tuple[Figure, ...]:
        return tuple(figure for figure in self.figures if not figure.same)

    @property
    def exit_code(self) -> int:
        """0, or 1 if anything differs."""
        return 1 if self.differences else 0

    def to_json(self) -> dict[str, Any]:
        """`{"report", "verified", "figures": [{"name", "reported", "measured", "same"}], "notes"}`."""
        figures = [vars(figure) for figure in self.figures]
        return {"report": self.report, "verified": not self.differences, "figures": figures, "notes": list(self.notes)}

    def document(self) -> Document:
        rows = tuple(
            (f.name, _shown(f.reported), _shown(f.measured), "" if f.same else "differs") for f in self.figures
        )
        count = len(self.differences)
        verdict = f"{count} of {len(rows)} figures differ" if count else f"all {len(rows)} figures are as reported"
        table = Table(self.report, ("", "report", "measured", ""), rows)
        return Document(f"Verification of {self.report}", self.to_json(), [table], [*self.notes, verdict])


@documented(VerifyOptions)
def verify(
    report: PathLike,
    *,
    artifact: PathLike | None = None,
    source: PathLike | None = None,
    data: DataLike = None,
    test: DataLike = None,
    tolerance: float = 0.1,
    reports: Sequence[PathLike] = (),
    overwrite: bool = False,
    trust: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> Verification:
    """Measure the artifact of a report again, and compare.

    The artifact's SHA-256, sizes and weights must be those of the report. Where source and test data are there, theirs
    are looked at too, and quality is measured again. Latency and memory are another machine's business. A function that
    the report names as data is not called; give it as `data` or `test`.

    Args:
        report: The path of a JSON report of `compress`.
        {settings}
        hooks: How progress and events are shown; not at all without it.

    Returns:
        All figures; `exit_code` is 1 if any differs.

    Raises:
        KCompressError: with one line, if the report or the artifact cannot be read.
    """
    options, path = VerifyOptions.of(locals()), Path(report)
    recorded = _read(path)
    made = _found(options.artifact, recorded.artifact.path, path)
    if made is None:
        raise ModelError(f"{recorded.artifact.path}: the artifact of {path} is not there; give it with --artifact")
    find(made)
    given = _found(options.source, recorded.source.path, path)
    preflight.reports([path, made, given, options.data, options.test], options)
    again = _Again(recorded, path, options, made, given, hooks or Hooks())
    backend.load()
    with trusting(options.trust):
        figures = tuple(again.figures())
    found = Verification(str(path), figures, tuple(again.notes))
    found.write(options.reports)
    return found


class _Again:
    """What is measured again, and notes on what cannot be."""

    def __init__(
        self, recorded: Recorded, report: Path, options: VerifyOptions, made: Path, source: Path | None, hooks: Hooks
    ) -> None:
        self._recorded, self._report, self._options, self._hooks = recorded, report, options, hooks
        self._made, self._source = made, source
        self.notes: list[str] = []

    def figures(self) -> Iterator[Figure]:
        said, trust = self._recorded, self._options.trust
        yield _figure("artifact sha256", said.artifact.sha256, sha256_of(self._made))
        if self._source is None:
            self.notes.append(f"the source {said.source.path} is not there; give it with --source")
        else:
            yield _figure("source sha256", said.source.sha256, sha256_of(self._source))
        yield from self._inputs()
        with self._hooks.progress(f"measuring {self._made.name}", None):
            measured = inspect(self._made, trust=trust).to_json()
        for name in SIZES:
            yield _figure(name, getattr(said.artifact, name), measured[name])
        data = self._test_data()
        if data is not None and self._source is not None:
            yield from self._quality(self._source, data)
        now = versions()
        for name, version in said.versions.items():
            if now.get(name) != version:
                self.notes.append(f"{name} was {version}, and is {now.get(name, 'not installed')}")

    def _inputs(self) -> Iterator[Figure]:
        """Whether data and teachers are the files that they were."""
        for each in self._recorded.inputs:
            place = _path(each, self._report)
            if place is not None and each.sha256 is not None:
                yield _figure(f"{each.use} sha256", each.sha256, sha256_of(place))
            elif each.sha256 is not None:
                self.notes.append(f"{each.use} {each.spec} is not there")

    def _test_data(self) -> Dataset | None:
        """The samples that quality was measured on, if it was and they are there."""
        if not self._recorded.quality.samples:
            return None
        given = {"data": self._options.data, "test": self._options.test}
        for each in self._recorded.inputs:
            if each.use in given and given[each.use] is None:
                place = _path(each, self._report)
                if place is None:
                    self.notes.append(f"quality was not measured: give the {each.use} with --{each.use}")
                    return None
                given[each.use] = str(each.spec).replace(str(path_of(str(each.spec))), str(place), 1)
        found = resolve(given["data"], None, given["test"]).test
        if found is None:
            self.notes.append("quality was not measured: give the test data with --test")
        return found

    def _quality(self, source: Path, data: Dataset) -> Iterator[Figure]:
        from kcompress.measure import scoring
        from kcompress.measure.quality import evaluate

        said, options = self._recorded.quality, self._options
        metric = self._recorded.settings.get("metric")
        with self._hooks.progress("measuring quality", data.samples) as advance:
            reference, runner = (find(path).open(path, options.trust) for path in (source, self._made))
            named = None if metric is None else scoring.metric_named(str(metric))
            found = evaluate(reference, [runner], data.fit_to(reference.inputs), named, advance)[0]
        yield _figure("test samples", said.samples, found.samples)
        for name in ("source", "artifact", "agreement"):
            reported, measured = getattr(said, name), getattr(found, name)
            same = _near(reported, measured, options.tolerance)
            yield Figure(name if name == "agreement" else f"quality of the {name}", reported, measured, same)


def _near(reported: float | None, measured: float | None, points: float) -> bool:
    """Whether two figures of quality are so many points apart at most; relative where they are above 1."""
    if reported is None or measured is None:
        return reported is measured
    if math.isnan(reported) or math.isnan(measured):
        return math.isnan(reported) and math.isnan(measured)
    return abs(reported - measured) * POINTS <= points * max(1.0, abs(reported))


def _figure(name: str, reported: Any, measured: Any) -> Figure:
    return Figure(name, reported, measured, reported == measured)


def _read(path: Path) -> Recorded:
    """A JSON report of compress; UsageError or ModelError for anything else."""
    advice = "give a report that compress wrote with --report FILE.json"
    check_file(path, UsageError, advice, MOST_BYTES)
    document = parsed(path, path.read_bytes(), "the report", advice)
    try:
        return Recorded.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise UsageError(f"{path}: no report of compress ({place}: {first['msg']}); {advice}") from error


def _found(given: Path | None, recorded: str, report: Path) -> Path | None:
    """The file that was given, else the one that a report names: from here, or beside the report."""
    if given is not None:
        return given
    return next((path for path in (Path(recorded), report.parent / Path(recorded).name) if kind_of(path)), None)


def _path(each: Input, report: Path) -> Path | None:
    """Where the file or folder of an input is, if it is one and there."""
    place = None if each.spec is None else path_of(each.spec)
    return None if place is None else _found(None, str(place), report)


def _shown(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, str):
        return value if len(value) <= 20 else f"{value[:16]}..."
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
