"""The settings of a search: by what sampler, how many trials, by how many workers, kept where."""

import math
import os
import time
from pathlib import Path
from typing import Any, Literal

from kcompress.backend import installed
from kcompress.errors import MissingExtraError, UsageError
from kcompress.run.options import Paths, RunOptions
from kcompress.settings import setting

Sampler = Literal["grid", "random", "bayes", "pareto"]
Engine = Literal["process", "ray"]
EFFORT = 0.1
SILENT_SECONDS = 60.0


class SearchOptions(RunOptions):
    """The settings of `search`."""

    validation: Any = setting(None, metavar="SPEC", unset="a fifth of the train split of --data")
    """Data that candidates are judged on, and that the model was not trained on."""
    trials: int = setting(40, metavar="N", ge=1)
    """The number of candidates to try, those that an earlier search left in the storage among them, such as 40."""
    sampler: Sampler = setting("bayes", metavar="NAME")
    """What picks the next candidate: grid, random, bayes, or pareto, for all that is best in size and drop together."""
    storage: str | None = setting(None, metavar="URL", unset="memory")
    """Where trials are kept, to go on with them: sqlite:///FILE, another database's URL, or a FILE.journal."""
    workers: int | None = setting(None, metavar="N", ge=1, unset="1")
    """The number of candidates at once, each in a process of its own where there are several."""
    threads: int | None = setting(None, metavar="N", ge=1, unset="its share of the processors")
    """The number of threads of each worker."""
    engine: Engine = setting("process", metavar="NAME")
    """Where workers are: process, or ray for tasks of a Ray cluster."""
    effort: float = setting(EFFORT, metavar="SHARE", gt=0, le=1)
    """The share of each training that a candidate gets, such as 0.1; the winner gets all of it."""
    timeout: float | None = setting(None, metavar="MINUTES", gt=0, allow_inf_nan=False, unset="no limit")
    """The minutes after which no candidate is started, such as 30."""
    reports: Paths = setting((), option="--report", metavar="FILE")
    """A file to write the report to: .json, .md, .html, .png or .svg (repeatable)."""
    save_recipe: Path | None = setting(None, metavar="FILE", unset="OUTPUT.recipe.yaml")
    """A file for the winner's recipe."""
    silent_seconds: float = setting(SILENT_SECONDS, cli=False, gt=0)
    """The seconds without a sign of life after which a trial is given to another worker."""

    def check(self) -> None:
        """UsageError for a search without a goal, MissingExtraError where Ray is needed and not installed."""
        if not self.any and self.sampler != "pareto":
            raise UsageError("no budget; give --max-drop, --max-size, --max-latency or --max-macs, or --sampler pareto")
        if self.engine == "ray" and not installed("ray"):
            raise MissingExtraError("ray", "--engine ray")

    @property
    def alone(self) -> bool:
        """Whether all trials are carried out in this process."""
        return self.engine == "process" and self.workers in (None, 1) and self.threads is None

    @property
    def threads_each(self) -> int:
        """Threads for each worker: its share of the processors where nothing was said."""
        return self.threads or max(1, processors() // (self.workers or 1))

    @property
    def deadline(self) -> float:
        """The time after which no trial is started, in seconds since 1970."""
        return math.inf if self.timeout is None else time.time() + 60 * self.timeout


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
