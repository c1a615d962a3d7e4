"""Peak memory of a block of code: how far the resident set of the process rises above its size at the start.

Linux keeps the peak of each process and lets it be reset, so that the peak of the block alone can be read. On other
systems there is no figure.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = b"5"


class PeakMemory:
    """`peak.reset()`, work, then `peak.rise()` is the rise in bytes, or None where it cannot be measured."""

    def __init__(self) -> None:
        self._start: int | None = None
        try:
            self._clear: int | None = os.open(CLEAR, os.O_WRONLY)  # before a process may be kept from that
        except OSError:
            self._clear = None

    def reset(self) -> None:
        release()
        if self._clear is not None:
            os.write(self._clear, RESET_PEAK)
            self._start = _status("VmRSS")

    def rise(self) -> int | None:
        return None if self._start is None else max(0, _status("VmHWM") - self._start)

    def __del__(self) -> None:
        if self._clear is not None:
            os.close(self._clear)


def memory_bytes() -> int:
    """What this machine has."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _status(key: str) -> int:
    """A figure of /proc/self/status in bytes; the file has it in units of 1024 bytes."""
    for line in STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise KeyError(key)


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Within it, `release` looks only at objects that are made from now on, which takes a tenth of the time.

    Does nothing if objects are frozen already, by an outer one of these or by the caller.
    """
    if gc.get_freeze_count():
        yield
        return
    release()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def release() -> None:
    """Free reference cycles, which Keras models are, and have the C library return freed memory to the system."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return
