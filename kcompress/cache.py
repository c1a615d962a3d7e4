"""What is kept between runs: finished passes of a run that was killed, outputs of teachers, sensitivities.

An entry is a folder, found by the key of all that went into it. One that nobody came back to for 14 days is dropped
when another is made. A cache that can't be read or written is no error: nothing is kept then.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kcompress import leftovers
from kcompress.codec import decode, encode
from kcompress.errors import OutputError, one_line
from kcompress.files import put

LOG = logging.getLogger("kcompress")
DIGESTS, NEW = "digests.json", "new-"
MAX_AGE_SECONDS = 14 * 24 * 3600.0
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Digests:
    """The SHA-256 of each file of an entry."""

    files: dict[str, str]


def root() -> Path:
    """$KCOMPRESS_CACHE, else `kcompress` in the user's cache folder; not necessarily there yet."""
    if chosen := os.environ.get("KCOMPRESS_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_path

    found = user_cache_path("kcompress", appauthor=False)
    return found if found.is_absolute() else Path(os.devnull, "kcompress")  # without a home, nothing is kept


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
    """A folder to write to, which becomes the entry once all of it is there, with the digests of its files.

    Raises OSError where that can't be, and passes on what is raised meanwhile; nothing is left behind then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    expire()
    draft = Path(tempfile.mkdtemp(prefix=f"{NEW}{leftovers.mark()}-", dir=folder.parent))
    try:
        yield draft
        write(draft / DIGESTS, Digests({path.name: digest_of(path) for path in draft.iterdir()}))
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise  # else another process made the same meanwhile
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def made(name: str) -> Path | None:
    """The folder of an entry that `making` made, None if there is none; one whose files have changed is dropped."""
    folder = entry(name)
    if not folder.is_dir():
        return None
    with dropping(folder):
        digests = read(Digests, folder / DIGESTS)
        if digests is None or any(digest_of(folder / file) != digest for file, digest in digests.files.items()):
            raise ValueError("its files have changed")
        return folder
    return None


@contextlib.contextmanager
def dropping(path: Path) -> Iterator[None]:
    """Meanwhile, an error of any kind means that an entry, or a file of one, is damaged: it is dropped with a warning.

    A file that is not there is none.
    """
    try:
        yield
    except FileNotFoundError as error:
        if path.is_dir():
            _drop_damaged(path, error)
    except Exception as error:  # zip archives, arrays and models have many for damaged files
        _drop_damaged(path, error)


def _drop_damaged(path: Path, error: Exception) -> None:
    LOG.warning("%s: is damaged (%s) and was dropped; what it held is made again", path, one_line(error))
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def drop(name: str) -> None:
    """Remove an entry, if it is there."""
    shutil.rmtree(root() / name, ignore_errors=True)


def expire() -> None:
    """Remove the entries that nobody came back to, and what killed runs left unfinished."""
    leftovers.remove(root(), f"{NEW}*")
    with contextlib.suppress(OSError):
        for folder in root().iterdir():
            if time.time() - folder.stat().st_mtime > MAX_AGE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, value: Any) -> None:
    """Keep a value in a file of an entry, behind its digest, whole or not at all."""
    text = encode(value)
    with contextlib.suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        put({path: f"{_digest(text)}\n{text}".encode()})


def read(kind: type[Kind], path: Path) -> Kind | None:
    """The value that was kept in a file; None if there is none. One that is damaged is dropped."""
    with dropping(path):
        digest, _, text = path.read_text().partition("\n")
        if digest != _digest(text):
            raise ValueError("its content has changed")
        return decode(kind, text)
    return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
