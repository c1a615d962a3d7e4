"""Output appears whole or not at all: written to a name of its own beside the target, then renamed."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompress.errors import KCompressError, OutputError
from kcompress.formats import Format, WriteOptions, Written
from kcompress.formats.safety import one_line
from kcompress.quantization.plan import QuantPlan
from kcompress.report import Report
from kcompress.report.files import render


def partial(path: Path) -> Path:
    """A path beside the target that no other run uses, with the same suffix."""
    return path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")


def write(form: Format, model: Any, plan: QuantPlan, target: Path, options: WriteOptions) -> Written:
    """Have the format write the model; OutputError where the file system refuses."""
    try:
        return form.write(model, plan, target, options)
    except KCompressError:
        raise
    except OSError as error:
        raise OutputError(
            f"{target.parent}: cannot be written ({one_line(error)}); free space or give another path"
        ) from error


def put(documents: Mapping[Path, bytes]) -> None:
    """Bring files that go together to their paths, each whole; OutputError where the file system refuses."""
    drafts = {path: partial(path) for path in documents}
    try:
        for path, draft in drafts.items():
            draft.write_bytes(documents[path])
        for path, draft in drafts.items():
            draft.replace(path)
    except OSError as error:
        raise OutputError(
            f"{next(iter(documents))}: cannot be written ({one_line(error)}); give another path"
        ) from error
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def publish(report: Report, target: Path, output: Path, report_paths: Sequence[Path]) -> None:
    """Bring the artifact and the reports to their paths, each whole."""
    pending: list[tuple[Path, Path]] = [(target, output)]
    try:
        for path in report_paths:
            draft = partial(path)
            draft.write_text(render(report, path.suffix.lower()), encoding="utf-8")
            pending.append((draft, path))
        for draft, path in pending:
            draft.replace(path)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({one_line(error)}); give another path") from error
    finally:
        for draft, _ in pending:
            draft.unlink(missing_ok=True)
