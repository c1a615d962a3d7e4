"""A report for a terminal, laid out by rich."""

from typing import IO

from kcompress.report.document import Document

PLAIN_WIDTH = 160


def show(document: Document, stream: IO[str] | None = None) -> None:
    """Print tables and remarks: in the width of the terminal; if it is none, PLAIN_WIDTH wide and without colour."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream)
    if not console.is_terminal:
        console = Console(file=stream, width=PLAIN_WIDTH)
    for table in document.tables:
        if table.shown == 0:
            continue
        grid = Table(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, name in enumerate(table.header):
            grid.add_column(name, justify="right" if number else "left", overflow="fold")
        for row in table.rows[: table.shown]:
            grid.add_row(*map(Text, row))
        console.print(grid)
        if table.shown is not None and len(table.rows) > table.shown:
            console.print(Text(f"{len(table.rows) - table.shown} more rows in a report, with --report FILE"))
    for line in document.remarks:
        console.print(Text(line), style="bold red" if "NOT MET" in line else None, soft_wrap=True)
