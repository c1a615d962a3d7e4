"""What is kept between runs: finished passes of a run that was killed, outputs of teachers, sensitivities.

An entry is a folder, found by the key of all that went into it. One that nobody came back to for 14 days is dropped
when another is made. A cache that can't be read or written is no error: nothing is kept then.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from kcompress.codec import decode, encode
from kcompress.errors import OutputError
from kcompress.files import put

MAX_AGE_SECONDS = 14 * 24 * 3600.0
Kind = TypeVar("Kind")


def root() -> Path:
    """$KCOMPRESS_CACHE, else `kcompress` in the user's cache folder; not necessarily there yet."""
    if chosen := os.environ.get("KCOMPRESS_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("kcompress", appauthor=False)


def key(*parts: Any) -> str:
    """What identifies an entry: a part of the SHA-256 of all that went into it, which is plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def entry(name: str) -> Path:
    """The folder of an entry, which counts as used now; not necessarily there yet."""
    folder = root() / name
    with contextlib.suppress(OSError):
        os.utime(folder)
    return folder


@contextlib.contextmanager
def making(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes the entry once all of it is there.

    Raises OSError where that can't be, and passes on what is raised meanwhile; nothing is left behind then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    expire()
    draft = Path(tempfile.mkdtemp(prefix="new-", dir=folder.parent))
    try:
        yield draft
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise  # else another process made the same meanwhile
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def drop(name: str) -> None:
    """Remove an entry, if it is there."""
    shutil.rmtree(root() / name, ignore_errors=True)


def expire() -> None:
    """Remove the entries that nobody came back to."""
    with contextlib.suppress(OSError):
        for folder in root().iterdir():
            if time.time() - folder.stat().st_mtime > MAX_AGE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, value: Any) -> None:
    """Keep a value in a file of an entry, whole or not at all."""
    with contextlib.suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        put({path: encode(value).encode()})


def read(kind: type[Kind], path: Path) -> Kind | None:
    """The value that was kept in a file; None if there is none of that type."""
    with contextlib.suppress(OSError, ValueError):
        return decode(kind, path.read_text())
    return None


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
