"""The HDF5 library, on a damaged file, may end the process or never come back: a process of its own reads it first.

`look_through` is the parent's end; `python -m kcompress.formats.hdf5_process FILE [MEMBER]` runs the child's. What the
child reads without harm, the parent reads in the same way.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from kcompress.child_processes import SHARE_OF_MEMORY, command, confine, environment
from kcompress.errors import ModelError
from kcompress.memory import memory_bytes

IN_MEMORY_BYTES = 64_000_000
SECONDS, BYTES_PER_SECOND = 30.0, 5_000_000
SPARSE = 20
"""A data set that takes more than so many times what is stored of it is not read here."""


_harmless: set[tuple[int, ...]] = set()


def harmless(path: Path) -> None:
    """Take a file, as it is now, for one that can be read: one that we wrote."""
    found = path.stat()
    _harmless.add((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


def look_through(path: Path, member: str = "") -> None:
    """Raise ModelError if HDF5 fails on a file, or on one in a zip archive, in a way that cannot be caught.

    Other errors are left to whoever reads it. A file is looked through once.
    """
    found = path.stat()
    if (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) not in _harmless:
        _read_in_child(path, member)
        harmless(path)


def _read_in_child(path: Path, member: str) -> None:
    child = command("kcompress.formats.hdf5_process", str(path.absolute()), member)
    limit = SECONDS + path.stat().st_size / BYTES_PER_SECOND
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    try:
        code = subprocess.run(child, timeout=limit, env=environment(), check=False, **streams).returncode
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path}: damaged (HDF5 does not come to an end of it); save the model again") from error
    if code < 0:
        raise ModelError(f"{path}: damaged (HDF5 fails on it with signal {-code}); save the model again")


def seekable(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A member to read from here and there: to go back in a compressed one is to begin it anew."""
    member = archive.open(name)
    if archive.getinfo(name).compress_type == zipfile.ZIP_STORED:
        return member
    copy = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
    with member:
        shutil.copyfileobj(member, copy, 1 << 20)
    return copy


def main(path: str, member: str = "") -> None:
    """Read all that is in the file."""
    import h5py

    with ExitStack() as stack:
        given: Any = path
        if member:
            archive = stack.enter_context(zipfile.ZipFile(path))
            given = stack.enter_context(seekable(archive, member))
        confine(int(SHARE_OF_MEMORY * memory_bytes()))
        file = stack.enter_context(h5py.File(given, "r"))
        _read_attributes(file)
        file.visititems(lambda _, item: _read(item))


def _read(item: Any) -> None:
    import h5py

    _read_attributes(item)
    if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
        return
    if item.nbytes <= max(IN_MEMORY_BYTES, SPARSE * item.id.get_storage_size()):
        item[()]


def _read_attributes(item: Any) -> None:
    for name in item.attrs:
        item.attrs[name]


if __name__ == "__main__":
    main(*sys.argv[1:])
