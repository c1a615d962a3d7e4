"""A table as rows of text, for all forms of reports, and how figures are written in it."""

from dataclasses import dataclass

from kcompress.sizes import format_size

Row = tuple[str, ...]
NONE = "-"


@dataclass(frozen=True)
class Table:
    """A title, a header and rows; the first column is text, the others are figures."""

    title: str
    header: Row
    rows: tuple[Row, ...]
    shown: int | None = None
    """How many rows, from the first, a terminal shows; None for all. Files have all of them."""


def count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def size(value: int | None) -> str:
    return NONE if value is None else format_size(value)


def times(before: int, after: int) -> str:
    if after and after <= before:
        return f"{before / after:.2f} times smaller"
    return f"{after / max(1, before):.2f} times larger"


def ratio(before: float, after: float) -> str:
    return f"{before / after:.2f} times as fast" if after else ""


def interval(ci95: tuple[float, float] | None) -> str:
    """` (-0.21 to 0.91)`; nothing where none is known."""
    return f" ({ci95[0]:.2f} to {ci95[1]:.2f})" if ci95 else ""
