"""The report as GitHub-flavoured Markdown."""

from kcompress.report.report import Report
from kcompress.report.rows import Table, remarks, tables


def render(report: Report) -> str:
    """A heading, one table per part, and the remarks as a list."""
    parts = [f"# kcompress {report.version}", *map(_table, tables(report, worst=None))]
    lines = remarks(report)
    if lines:
        parts.append("\n".join(f"- {_escape(line)}" for line in lines))
    parts.append(f"Took {report.seconds:.1f} s.")
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    head = f"| {' | '.join(table.header)} |"
    rule = "|---|" + "---:|" * (len(table.header) - 1)
    rows = [f"| {' | '.join(map(_escape, row))} |" for row in table.rows]
    return "\n".join([f"## {table.title}", "", head, rule, *rows])


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
