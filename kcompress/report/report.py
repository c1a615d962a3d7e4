"""The report of a run, whose figures were measured on the file that was written."""

from dataclasses import dataclass, field
from typing import Any

from kcompress.measure.files import FileFigures
from kcompress.measure.quality import Quality
from kcompress.report import run_tables
from kcompress.report.document import Document, Result

NOT_IN_JSON = ("budgets", "declined", "history")
"""Fields of a `PassRecord` that are not in the JSON report, or in another form."""


@dataclass(frozen=True)
class SourceFigures:
    """The model that went in. `macs` are multiply-adds for one sample, None if an input size is open."""

    path: str
    format: str
    bytes: int
    parameters: int
    macs: int | None


@dataclass(frozen=True)
class PassRecord:
    """One pass: its settings, the layers that it changed and skipped, and the model after it.

    An entry of `changed` has the keys `layer` and `detail`. If weights were rounded, it also has `bits` and
    `weight_sqnr_db`, and with calibration data `output_sqnr_db`. These signal-to-quantization-noise ratios are
    simulated in Keras, each layer alone; they are None where nothing was lost. `declined` are the skipped layers that
    the pass should have changed. `history` has the keys `loss`, `validation_loss` and `seconds` for each epoch of
    training.
    """

    name: str
    config: dict[str, Any]
    seconds: float
    changed: tuple[dict[str, Any], ...]
    skipped: tuple[dict[str, str], ...]
    parameters: int
    nonzero: int
    macs: int | None
    budgets: "tuple[Budget, ...]" = ()
    declined: tuple[str, ...] = ()
    history: tuple[dict[str, float | None], ...] = ()


@dataclass(frozen=True)
class Budget:
    """A limit that was set, and what was measured, both in the unit of the name: points, bytes, milliseconds,
    multiply-adds or a share.

    The name is that of an option, or of a pass and its field; `detail` says why it was not met, if that is known.
    """

    name: str
    limit: float
    measured: float | None
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.measured is not None and self.measured <= self.limit

    def to_json(self) -> dict[str, Any]:
        """As plain data; without `detail` if that is empty."""
        document = {"name": self.name, "limit": self.limit, "measured": self.measured, "met": self.met}
        return {**document, "detail": self.detail} if self.detail else document


@dataclass(frozen=True)
class Input:
    """Something that was read besides the source. `spec` is as it was given, None for what was in memory, and `sha256`
    is None where it is no file: for arrays and functions."""

    use: str
    spec: str | None
    sha256: str | None


@dataclass(frozen=True)
class Provenance:
    """What is needed to make the artifact once more, and to see whether it is from the same."""

    source_sha256: str
    inputs: tuple[Input, ...]
    recipe: dict[str, Any]
    """As a recipe file holds it, with all settings of each pass."""
    settings: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True)
class Report(Result):
    """A finished run. The keys of `to_json` are a promise to users; other fields are only in the readable forms."""

    version: str
    source: SourceFigures
    passes: tuple[PassRecord, ...]
    artifact: FileFigures
    float_layers: tuple[str, ...]
    quality: Quality
    seconds: float
    source_file: FileFigures
    provenance: Provenance
    artifact_sha256: str
    budgets: tuple[Budget, ...] = ()
    notes: tuple[str, ...] = field(default=())
    first: bool = True
    """Whether this process wrote the files; False where another process of its group did."""

    @property
    def macs(self) -> int | None:
        """Multiply-adds of the artifact for one sample, None if an input size is open."""
        return self.passes[-1].macs if self.passes else self.source.macs

    @property
    def exit_code(self) -> int:
        """0, or 1 if a budget was not met."""
        return 0 if all(budget.met for budget in self.budgets) else 1

    @property
    def shown(self) -> bool:
        return self.first

    def document(self) -> Document:
        remarks = [*run_tables.remarks(self), f"took {self.seconds:.1f} s"]
        return Document(f"kcompress {self.version}", self.to_json(), run_tables.tables(self), remarks)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data; without `budgets` and `notes` if there are none."""
        artifact, quality = self.artifact, self.quality
        document: dict[str, Any] = {
            "kcompress": self.version,
            "source": {**vars(self.source), "sha256": self.provenance.source_sha256},
            "inputs": [vars(each) for each in self.provenance.inputs],
            "recipe": self.provenance.recipe,
            "settings": self.provenance.settings,
            "versions": self.provenance.versions,
            "passes": [
                {
                    **{key: value for key, value in vars(record).items() if key not in NOT_IN_JSON},
                    "changed": list(record.changed),
                    "skipped": list(record.skipped),
                    **({"history": list(record.history)} if record.history else {}),
                }
                for record in self.passes
            ],
            "artifact": {
                "path": artifact.path,
                "format": artifact.format,
                "sha256": self.artifact_sha256,
                "bytes": artifact.bytes,
                "gzip_bytes": artifact.gzip_bytes,
                "parameters": artifact.parameters,
                "nonzero": artifact.nonzero,
                "bits_per_weight": artifact.bits_per_weight,
                "float_layers": list(self.float_layers),
                "latency_ms": artifact.latency_ms,
                "peak_memory_bytes": artifact.peak_memory_bytes,
            },
            "quality": {**vars(quality), "ci95": None if quality.ci95 is None else list(quality.ci95)},
            "seconds": self.seconds,
        }
        if self.notes:
            document["notes"] = list(self.notes)
        if self.budgets:
            document["budgets"] = [budget.to_json() for budget in self.budgets]
        return document
