"""A report as a text that another process makes the same report from."""

import json
from dataclasses import asdict

from pydantic import TypeAdapter

from kcompress.report.report import Report


def to_text(report: Report) -> str:
    """All that is in a report."""
    return json.dumps(asdict(report))


def from_text(text: str) -> Report:
    """The report that `to_text` was given."""
    return TypeAdapter(Report).validate_python(json.loads(text))
