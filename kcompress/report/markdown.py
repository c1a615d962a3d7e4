"""A report as GitHub-flavoured Markdown."""

from collections.abc import Sequence

from kcompress.report.table import Table


def page(title: str, content: Sequence[Table], lines: Sequence[str]) -> str:
    """A heading, tables, and remarks as a list."""
    parts = [f"# {title}", *map(_table, content)]
    if lines:
        parts.append("\n".join(f"- {_escape(line)}" for line in lines))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    head = f"| {' | '.join(table.header)} |"
    rule = "|---|" + "---:|" * (len(table.header) - 1)
    rows = [f"| {' | '.join(map(_escape, row))} |" for row in table.rows]
    return "\n".join([f"## {table.title}", "", head, rule, *rows])


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
