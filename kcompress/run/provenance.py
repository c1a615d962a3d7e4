"""What an artifact came of: source and data by their SHA-256, recipe, settings and versions."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kcompress import backend
from kcompress.cache import digest_of
from kcompress.data.specs import path_of
from kcompress.files import kind_of
from kcompress.passes.capabilities import ReadsModels
from kcompress.report.report import Input, Provenance
from kcompress.run.options import CompressOptions
from kcompress.versions import versions

if TYPE_CHECKING:
    from kcompress.passes.base import Pass


def provenance(source: Path, passes: "Sequence[Pass]", options: CompressOptions) -> Provenance:
    """Look at all that a run is given, before it begins."""
    return Provenance(
        digest_of(source),
        tuple(_inputs(options, passes)),
        {"passes": [{"pass": each.name, **each.config()} for each in passes]},
        {
            "backend": backend.select(),
            "seed": options.seed,
            "batch": options.batch,
            "metric": options.metric,
            "trust": list(options.trust),
        },
        versions(),
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file; of a folder, that of its files' names and SHA-256s, a line each, in the order of names."""
    if not path.is_dir():
        return digest_of(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    lines = [f"{digest_of(each)}  {each.relative_to(path).as_posix()}\n" for each in files]
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _inputs(options: CompressOptions, passes: "Sequence[Pass]") -> Iterator[Input]:
    given = [("data", options.data), ("calibration", options.calibration), ("test", options.test)]
    given += [("teacher", path) for path in options.teachers]
    given += [("model", path) for each in passes if isinstance(each, ReadsModels) for path in each.model_files()]
    for use, value in given:
        if value is None:
            continue
        if not isinstance(value, (str, Path)):
            yield Input(use, None, None)
            continue
        path = path_of(str(value))
        yield Input(use, str(value), sha256_of(path) if path is not None and kind_of(path) else None)
