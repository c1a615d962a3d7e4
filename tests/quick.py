"""What tests do less of than users get, in every process of theirs that begins with kcompress loaded."""

from collections.abc import Callable
from typing import Any

from kcompress.formats.keras import archive
from kcompress.measure import latency


def work_less(put: Callable[[object, str, Any], None] = setattr) -> None:
    """A latency is the median of a few calls; those of 200, as users get, took a third of the time of a small run.

    LZMA is tried in one way in place of four, which took as long as all else that writes a small `.keras` file.
    """
    put(latency, "MAX_CALLS", latency.MIN_CALLS)
    put(archive, "LITERALS", archive.LITERALS[:1])
