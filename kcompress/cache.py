"""What is kept between runs: finished passes of a run that was killed, outputs of teachers."""

import hashlib
import os
from pathlib import Path
from typing import Any


def root() -> Path:
    """$KCOMPRESS_CACHE, else `kcompress` in the user's cache folder; not necessarily there yet."""
    if chosen := os.environ.get("KCOMPRESS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kcompress"


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's content, by which things that come of it are found again; OSError if it can't be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_model(model: Any) -> str:
    """The SHA-256 of what a Keras model is, however often it is saved: a file says when that was."""
    found = hashlib.sha256(model.to_json().encode())
    for variable in model.variables:
        found.update(variable.numpy().tobytes())
    return found.hexdigest()
