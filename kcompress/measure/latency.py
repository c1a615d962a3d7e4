"""Time per call with one sample, in milliseconds: the median and the 95th percentile over repeated calls."""

import time
from collections.abc import Callable

import numpy as np

from kcompress.formats import OwnProcess, Runner, Tensors, run_batches

WARM_UP = 3
MAX_CALLS = 200
MIN_CALLS = 5


def latency_ms(runner: Runner, sample: Tensors, seconds: float = 1.0) -> dict[str, float]:
    """`{"p50": ..., "p95": ...}` in milliseconds, from at most 200 calls or about `seconds` of calls, at least 5.

    A file with a fixed batch size is timed on one full batch.
    """
    clock: Callable[[], float] = (lambda: runner.seconds) if isinstance(runner, OwnProcess) else time.perf_counter
    for _ in range(WARM_UP):
        run_batches(runner, sample)
    times: list[float] = []
    while len(times) < MIN_CALLS or (len(times) < MAX_CALLS and sum(times) < seconds):
        started = clock()
        run_batches(runner, sample)
        times.append(clock() - started)
    p50, p95 = np.percentile(times, [50, 95]) * 1000
    return {"p50": float(p50), "p95": float(p95)}
