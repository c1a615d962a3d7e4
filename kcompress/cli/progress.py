"""Progress and messages while a command works: on standard error, and progress only on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kcompress.progress import Hooks


def hooks(quiet: bool) -> "Hooks":
    """What a command passes on to the function that it calls; `quiet` shows nothing."""
    from kcompress.progress import Hooks

    if quiet:
        return Hooks()
    return Hooks(_progress if sys.stderr.isatty() else Hooks().progress, _log)


def _log(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201


@contextmanager
def _progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A spinner, or a bar where the number of steps is known; gone when the work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    counted = (BarColumn(), MofNCompleteColumn()) if total else ()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *counted, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda steps: progress.advance(task, steps)
