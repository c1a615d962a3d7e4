"""The report for a terminal, laid out by rich."""

from typing import IO

from kcompress.report.report import Report
from kcompress.report.rows import Table, remarks, tables

PLAIN_WIDTH = 160


def show(report: Report, stream: IO[str] | None = None) -> None:
    """Print the tables and remarks; to a terminal in its width, elsewhere wide and without colour."""
    show_tables(tables(report), remarks(report), stream)


def show_tables(content: list[Table], lines: list[str], stream: IO[str] | None = None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=stream)
    if not console.is_terminal:
        console = Console(file=stream, width=PLAIN_WIDTH)
    for table in content:
        grid = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, name in enumerate(table.header):
            grid.add_column(name, justify="right" if number else "left", overflow="fold")
        for row in table.rows:
            grid.add_row(*map(Text, row))
        console.print(grid)
    for line in lines:
        console.print(Text(line), style="bold red" if "NOT MET" in line else None, soft_wrap=True)
