"""Names of unfinished files and folders, by which a later run tells that the run that made them is gone.

`kcompress-HOST-PID-NUMBER`: a few digits of a hash of the host's name, the process, and a number of its own.
"""

import contextlib
import hashlib
import itertools
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MARK = re.compile(r"kcompress-([0-9a-f]{6})-(\d+)-\d+")
_numbers = itertools.count()


def mark() -> str:
    """A part of a name that no other process has, nor this one a second time."""
    return f"kcompress-{_host()}-{os.getpid()}-{next(_numbers)}"


@cache
def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def remove(folder: Path, pattern: str) -> None:
    """Remove the files and folders of a pattern that a process of this host made which has ended since."""
    with contextlib.suppress(OSError):
        for path in folder.glob(pattern):
            if _is_left(path.name):
                _remove(path)


def _is_left(name: str) -> bool:
    found = MARK.search(name)
    if found is None or found[1] != _host() or sys.platform == "win32":  # where to ask a process is to end it
        return False
    try:
        os.kill(int(found[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it runs, as another user
        return False
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for temporary files, which goes when this is left; those of runs that were killed go, too."""
    place = Path(tempfile.gettempdir())
    remove(place, "kcompress-*")
    with tempfile.TemporaryDirectory(prefix=f"{mark()}-") as folder:
        yield Path(folder)
