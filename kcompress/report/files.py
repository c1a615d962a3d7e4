"""Write a report to files; the suffix picks the form."""

import json
from pathlib import Path

from kcompress.errors import OutputError, UsageError
from kcompress.report.report import Report

SUFFIXES = (".json", ".md")


def check_paths(paths: list[Path], suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """UsageError for a suffix that no form has, OutputError for a folder that is not there."""
    for path in paths:
        if path.suffix.lower() not in suffixes:
            raise UsageError(f"--report {path}: no report as '{path.suffix}'; allowed: {', '.join(suffixes)}")
        if not path.parent.is_dir():
            raise OutputError(f"--report {path}: no folder {path.parent}; make it first")


def render(report: Report, suffix: str) -> str:
    """The report as text in the form of a suffix, `.json` or `.md`."""
    if suffix == ".json":
        return json.dumps(report.to_json(), indent=2) + "\n"
    from kcompress.report import markdown

    return markdown.render(report)
