"""What a model file holds, for a person or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kcompress import backend
from kcompress.formats import Description, find
from kcompress.formats.base import file_bytes, gzip_bytes
from kcompress.progress import Hooks
from kcompress.run.options import InspectOptions
from kcompress.settings import documented
from kcompress.typing import PathLike


@dataclass(frozen=True)
class Inspection:
    """A file's description with its path and sizes in bytes."""

    path: str
    bytes: int
    gzip_bytes: int
    description: Description


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
    form = find(path)
    if form.reads:
        backend.load()
    return Inspection(str(path), file_bytes(path), gzip_bytes(path), form.describe(path, options.trust))


def to_json(found: Inspection) -> dict[str, Any]:
    """Plain data: path, format, sizes, inputs, outputs, weights, and a row per layer or operator type."""
    d = found.description
    return {
        "path": found.path,
        "format": d.format,
        "bytes": found.bytes,
        "gzip_bytes": found.gzip_bytes,
        "inputs": {name: list(shape) for name, shape in d.inputs.items()},
        "outputs": list(d.outputs),
        "parameters": d.parameters,
        "nonzero": d.nonzero,
        "bits_per_weight": d.bits_per_weight,
        "macs": d.macs,
        "rows": [asdict(row) for row in d.rows],
        "notes": list(d.notes),
    }


def show(found: Inspection) -> None:
    """Print a summary and a table."""
    from kcompress.report.rows import Table, count
    from kcompress.report.terminal import show_tables

    d = found.description
    shapes = ", ".join(f"{name} {_shape(shape)}" for name, shape in d.inputs.items())
    summary = [
        ("format", d.format),
        ("bytes", f"{count(found.bytes)} ({count(found.gzip_bytes)} under gzip)"),
        ("inputs", shapes),
        ("outputs", ", ".join(d.outputs)),
        ("parameters", f"{count(d.parameters)} ({count(d.nonzero)} nonzero)"),
        ("bits per weight", f"{d.bits_per_weight:.2f}"),
        ("MACs", count(d.macs)),
    ]
    rows = tuple(
        (r.name, r.kind, r.shape, count(r.parameters), count(r.nonzero), count(r.macs)) if r.parameters or r.macs
        else (r.name, r.kind, "", "", "", "")
        for r in d.rows
    )  # fmt: skip
    tables = [
        Table(found.path, ("", ""), tuple(summary)),
        Table("Contents", ("name", "type", "kernel shapes", "parameters", "nonzero", "MACs"), rows),
    ]
    show_tables(tables, list(d.notes))


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)
