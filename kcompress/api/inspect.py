"""What a model file holds, for a person or as JSON."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kcompress import backend
from kcompress.formats import Description, Row, file_bytes, find, gzip_bytes
from kcompress.formats.trusted import trusting
from kcompress.progress import Hooks
from kcompress.report.document import Document, Result
from kcompress.report.table import Table, count
from kcompress.run import preflight
from kcompress.run.options import InspectOptions
from kcompress.settings import documented
from kcompress.typing import PathLike


@dataclass(frozen=True)
class Inspection(Result):
    """A file's description with its path and sizes in bytes."""

    path: str
    bytes: int
    gzip_bytes: int
    description: Description

    def to_json(self) -> dict[str, Any]:
        """Path, format, sizes, inputs, outputs, weights, and a row per layer or operator type."""
        d = self.description
        return {
            "path": self.path,
            "format": d.format,
            "bytes": self.bytes,
            "gzip_bytes": self.gzip_bytes,
            "inputs": {name: list(shape) for name, shape in d.inputs.items()},
            "outputs": list(d.outputs),
            "parameters": d.parameters,
            "nonzero": d.nonzero,
            "bits_per_weight": d.bits_per_weight,
            "macs": d.macs,
            "rows": [asdict(row) for row in d.rows],
            "notes": list(d.notes),
        }

    def document(self) -> Document:
        d = self.description
        summary = (
            ("format", d.format),
            ("bytes", f"{count(self.bytes)} ({count(self.gzip_bytes)} under gzip)"),
            ("inputs", ", ".join(f"{name} {_shape(shape)}" for name, shape in d.inputs.items())),
            ("outputs", ", ".join(d.outputs)),
            ("parameters", f"{count(d.parameters)} ({count(d.nonzero)} nonzero)"),
            ("bits per weight", f"{d.bits_per_weight:.2f}"),
            ("MACs", count(d.macs)),
        )
        header = ("name", "type", "kernel shapes", "parameters", "nonzero", "MACs")
        tables = [Table(self.path, ("", ""), summary), Table("Contents", header, tuple(map(_row, d.rows)))]
        return Document(f"Contents of {self.path}", self.to_json(), tables, d.notes)


@documented(InspectOptions)
def inspect(
    model: PathLike,
    *,
    reports: Sequence[PathLike] = (),
    overwrite: bool = False,
    trust: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> Inspection:
    """Read a model file's structure and weights; nothing is run.

    Args:
        model: The path of a model file, or of a SavedModel folder.
        {settings}
        hooks: How progress and events are shown; not at all without it.

    Raises:
        KCompressError: with one line, if the file cannot be read, or would run code of its own.
    """
    options, path = InspectOptions.of(locals()), Path(model)
    file_format = find(path)
    preflight.reports([path], options)
    if file_format.reads:
        backend.load()
    with trusting(options.trust) if file_format.reads else nullcontext():
        description = file_format.describe(path, options.trust)
    found = Inspection(str(path), file_bytes(path), gzip_bytes(path), description)
    found.write(options.reports)
    return found


def _row(row: Row) -> tuple[str, ...]:
    if not (row.parameters or row.macs):
        return (row.name, row.kind, "", "", "", "")
    return (row.name, row.kind, row.shape, count(row.parameters), count(row.nonzero), count(row.macs))


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)
