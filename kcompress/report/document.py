"""A report without its form: data, tables, remarks, perhaps a plot. The suffix of a file picks the form."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompress.errors import OutputError, UsageError
from kcompress.files import put
from kcompress.report import html, markdown, plot
from kcompress.report.table import Table

TEXTS, PLOTS = (".json", ".md", ".html"), (".png", ".svg")


@dataclass(frozen=True)
class Document:
    """The parts of a report: `data` is for `.json`, `draw` makes a Figure of Matplotlib's, the rest is text."""

    title: str
    data: dict[str, Any]
    tables: Sequence[Table]
    remarks: Sequence[str]
    draw: Callable[[], Any] | None = None

    def render(self, suffix: str) -> bytes:
        """The report in the form of a suffix."""
        if suffix == ".json":
            return (json.dumps(self.data, indent=2) + "\n").encode()
        if suffix == ".md":
            return markdown.page(self.title, self.tables, self.remarks).encode(errors="backslashreplace")
        if suffix == ".html":
            plots = [] if self.draw is None else [plot.saved(self.draw, "svg").decode()]
            return html.page(self.title, self.tables, plots, self.remarks).encode(errors="backslashreplace")
        assert self.draw is not None
        return plot.saved(self.draw, suffix.removeprefix("."))


class Result(ABC):
    """Base of what the functions in `api` return."""

    @property
    def exit_code(self) -> int:
        """0, or 1 if a budget was not met."""
        return 0

    @property
    def shown(self) -> bool:
        """Whether this process prints it; False where another process of its group does."""
        return True

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All that was found, as plain data."""

    @abstractmethod
    def document(self) -> Document:
        """What was found, for people and programs."""

    def write(self, paths: Sequence[Path]) -> None:
        """Write it to files, in the forms of their suffixes."""
        document = self.document() if paths else None
        put({path: document.render(path.suffix.lower()) for path in paths if document is not None})


def check(paths: Sequence[Path], plotted: bool = False) -> None:
    """Check that reports can be written, before anything is computed; `plotted` says whether they have a plot.

    Raises UsageError for a suffix that no form has, OutputError for a folder that is not there, MissingExtraError for a
    form that needs an extra.
    """
    allowed = TEXTS + PLOTS if plotted else TEXTS
    for path in paths:
        suffix = path.suffix.lower()
        if suffix not in allowed:
            raise UsageError(f"--report {path}: no report as '{path.suffix}'; allowed: {', '.join(allowed)}")
        if not path.parent.is_dir():
            raise OutputError(f"--report {path}: no folder {path.parent}; make it first")
        if suffix in PLOTS or (plotted and suffix == ".html"):
            plot.require(f"a report as {path.suffix}")
        if suffix == ".html":
            html.require()
