"""Plots as the bytes of a file, the same bytes for the same data; no display is needed."""

import io
from collections.abc import Callable
from typing import Any

from kcompress.backend import installed
from kcompress.errors import MissingExtraError

DOTS_PER_INCH = 150
SETTINGS = {"svg.hashsalt": "kcompress", "svg.fonttype": "none", "font.size": 9}


def require(purpose: str) -> None:
    """MissingExtraError if nothing can be plotted."""
    if not installed("matplotlib"):
        raise MissingExtraError("report", purpose)


def figure(width: float, height: float) -> Any:
    """An empty Figure of Matplotlib's, in inches; draw it within `style()`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def style() -> Any:
    """A context in which figures are drawn and saved."""
    import matplotlib

    return matplotlib.rc_context(SETTINGS)


def saved(draw: Callable[[], Any], kind: str) -> bytes:
    """The bytes of the file, `svg` or `png`, with the figure that `draw` makes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with style():
        draw().savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()
