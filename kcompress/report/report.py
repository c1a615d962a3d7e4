"""The Report: every figure measured on the file that was written."""

from dataclasses import dataclass, field
from typing import Any

from kcompress.measure.files import FileFigures
from kcompress.measure.quality import Quality
from kcompress.report import run_tables
from kcompress.report.document import Document, Result

UNPROMISED = ("budgets", "declined", "history")
"""Fields of a record that do not go into the JSON as they are."""


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
    """One pass: its settings, what it changed and what not, and the model after it.

    An entry of `changed` has the keys `layer` and `detail`. Where weights were rounded it has `bits` and
    `weight_sqnr_db` too, with calibration data also `output_sqnr_db`: signal-to-quantization-noise ratios, None where
    nothing was lost. They are simulated in Keras, each layer by itself. `declined` are those of the skipped layers that
    the pass should have changed. `history` has the keys `loss`, `validation_loss` and `seconds` for each epoch of a
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
    """A limit that was asked for, in the unit of its name (points, bytes, milliseconds, multiply-adds or a share), and
    what was measured.

    The name is that of an option, or of a pass and its field; `detail` says why it was not met, where that is known.
    """

    name: str
    limit: float
    measured: float | None
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.measured is not None and self.measured <= self.limit

    def to_json(self) -> dict[str, Any]:
        """As plain data; `detail` is there only where there is one."""
        document = {"name": self.name, "limit": self.limit, "measured": self.measured, "met": self.met}
        return {**document, "detail": self.detail} if self.detail else document


@dataclass(frozen=True)
class Report(Result):
    """A finished run. `to_json` has the keys that are promised; the rest is for the readable forms."""

    version: str
    source: SourceFigures
    passes: tuple[PassRecord, ...]
    artifact: FileFigures
    float_layers: tuple[str, ...]
    quality: Quality
    seconds: float
    source_file: FileFigures
    budgets: tuple[Budget, ...] = ()
    notes: tuple[str, ...] = field(default=())
    first: bool = True
    """Whether this process wrote the files; False where another one did that trained together with it."""

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
        """The report as plain data; `budgets` and `notes` are there only where there are some."""
        artifact, quality = self.artifact, self.quality
        document: dict[str, Any] = {
            "kcompress": self.version,
            "source": vars(self.source),
            "passes": [
                {
                    **{key: value for key, value in vars(record).items() if key not in UNPROMISED},
                    "changed": list(record.changed),
                    "skipped": list(record.skipped),
                    **({"history": list(record.history)} if record.history else {}),
                }
                for record in self.passes
            ],
            "artifact": {
                "path": artifact.path,
                "format": artifact.format,
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
