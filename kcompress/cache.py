"""The folder for what is kept between runs: finished passes of a run that was killed, outputs of teachers."""

import os
from pathlib import Path


def root() -> Path:
    """$KCOMPRESS_CACHE, else `kcompress` in the user's cache folder; not necessarily there yet."""
    if chosen := os.environ.get("KCOMPRESS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kcompress"
