"""How a search goes about it: by what sampler, how often, by how many workers, kept where."""

import math
import os
import time
from dataclasses import dataclass

from kcompress.backend import installed
from kcompress.errors import MissingExtraError, UsageError
from kcompress.fields import suggest
from kcompress.run.options import Budgets
from kcompress.tuning.samplers import SAMPLERS
from kcompress.tuning.trials import SILENT_SECONDS

ENGINES = ("process", "ray")


@dataclass(frozen=True)
class Options:
    """See `search`, whose arguments these are; None where it was left open."""

    sampler: str = "bayes"
    trials: int = 40
    storage: str | None = None
    workers: int | None = None
    threads: int | None = None
    engine: str = "process"
    timeout: float | None = None
    silent_seconds: float = SILENT_SECONDS

    def check(self, budget: Budgets) -> None:
        """UsageError for what can't be, MissingExtraError where Ray is needed and not installed."""
        for name, value, allowed in (("sampler", self.sampler, SAMPLERS), ("engine", self.engine, ENGINES)):
            if value not in allowed:
                raise UsageError(f"--{name} {value} is unknown; {suggest(value, allowed)}")
        if not budget.any and self.sampler != "pareto":
            raise UsageError("no budget; give --max-drop, --max-size, --max-latency or --max-macs, or --sampler pareto")
        for name, count in (("trials", self.trials), ("workers", self.workers), ("threads", self.threads)):
            if count is not None and count < 1:
                raise UsageError(f"--{name} {count} is not at least 1; give a positive number")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise UsageError(f"--timeout {self.timeout:g} is not positive; give minutes, such as 30")
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
        """The time after which no trial is begun, in seconds since 1970."""
        return math.inf if self.timeout is None else time.time() + 60 * self.timeout


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
