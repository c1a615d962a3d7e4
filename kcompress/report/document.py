"""What a command found: for people a page with tables and a plot, for programs data; the suffix picks the form."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompress.report import html, markdown, plot
from kcompress.report.files import check_paths
from kcompress.report.rows import Table

SUFFIXES = (".json", ".md", ".html", ".png", ".svg")


@dataclass(frozen=True)
class Document:
    """The parts of a report: `data` is for `.json`, `draw` makes a Figure of Matplotlib's, the rest is text."""

    title: str
    data: dict[str, Any]
    tables: Sequence[Table]
    remarks: Sequence[str]
    draw: Callable[[], Any]

    def render(self, suffix: str) -> bytes:
        """The report in the form of a suffix."""
        if suffix == ".json":
            return (json.dumps(self.data, indent=2) + "\n").encode()
        if suffix == ".md":
            return markdown.page(self.title, self.tables, self.remarks).encode()
        with plot.style():
            drawn = self.draw()
        if suffix == ".html":
            return html.page(self.title, self.tables, [plot.saved(drawn, "svg").decode()], self.remarks).encode()
        return plot.saved(drawn, suffix.removeprefix("."))


def check(paths: list[Path]) -> None:
    """UsageError or OutputError for a path that no report can have, MissingExtraError for what can't be made here."""
    check_paths(paths, SUFFIXES)
    for path in paths:
        if path.suffix.lower() in (".html", ".png", ".svg"):
            plot.require(f"a report as {path.suffix}")
        if path.suffix.lower() == ".html":
            html.require()
