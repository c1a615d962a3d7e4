"""Progress of long work and lines for events, handed to whoever shows them; nothing here prints."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

Advance = Callable[[int], None]
Progress = Callable[[str, int | None], AbstractContextManager[Advance]]


@contextmanager
def no_progress(_description: str, _total: int | None) -> Iterator[Advance]:
    """Progress that is not shown."""
    yield lambda _steps: None


@dataclass(frozen=True)
class Hooks:
    """How a run reports while it works: `progress(description, total)` around long parts, `log(line)` for events.

    `passed(number, model)` is called after each pass, counted from 1; what it raises ends the run.
    """

    progress: Progress = no_progress
    log: Callable[[str], None] = lambda _line: None
    passed: Callable[[int, Any], None] = lambda _number, _model: None
