"""What tests do less of than users get, in every process of theirs that begins with kcompress loaded."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kcompress.formats import hdf5_process
from kcompress.formats.keras import archive
from kcompress.measure import latency
from kcompress.training.ensembles import stacking

ALL_LITERALS = archive.LITERALS
STEPS = stacking.PLAN
READ_IN_CHILD = hdf5_process._read_in_child


def work_less(put: Callable[[object, str, Any], None] = setattr) -> None:
    """A latency is the median of a few calls; those of 200, as users get, took a third of the time of a small run.

    LZMA is tried in one way in place of four, which took as long as all else that writes a small `.keras` file. Heads
    of ensembles take a quarter of the steps. Model files are not read by a process of its own first.
    """
    put(latency, "MAX_CALLS", latency.MIN_CALLS)
    put(archive, "LITERALS", ALL_LITERALS[:1])
    put(hdf5_process, "_read_in_child", lambda _path, _member: None)
    put(stacking, "PLAN", replace(STEPS, steps=STEPS.steps // 4))


def read_as_users_do(put: Callable[[object, str, Any], None] = setattr) -> None:
    """HDF5 files are read by a process of its own first."""
    put(hdf5_process, "_read_in_child", READ_IN_CHILD)


def write_as_users_get(put: Callable[[object, str, Any], None]) -> None:
    """`.keras` files of the bytes that users get, and other processes write."""
    put(archive, "LITERALS", ALL_LITERALS)
