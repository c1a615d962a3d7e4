"""`.npz` files, read in chunks straight from the zip stream: memory holds one batch, never an array.

Each member is a `.npy` file: magic, version, a header with dtype, order and shape, then the values in C order.
A member in Fortran order (such as a data frame's values) is unpacked to an unnamed temporary file and mapped.
"""

import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from kcompress.data.batches import Batch, Key, pack
from kcompress.data.dataset import Dataset, Parts
from kcompress.data.keys import keys_by_split
from kcompress.data.source import Leaf, Source, check_numeric, common_length, hash_file, reason
from kcompress.errors import DataError, KCompressError

_PIECE = 1 << 16  # bytes asked of the zip stream at a time; it may unpack far more than it is asked for


@dataclass(frozen=True)
class Member:
    """One array of the file, as its header describes it."""

    key: str
    file: str
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool


class NpzSource(Source):
    """One split of a `.npz` file, or all of one without splits."""

    def __init__(self, path: Path, name: str, x: dict[Key, Member], y: dict[Key, Member], split: str) -> None:
        """Take the members that make up x and y (empty: no labels).

        Raises:
            DataError: arrays of different lengths.
        """
        self.name = name
        members = [*x.values(), *y.values()]
        self.samples: int = common_length(name, [(member.key, member.shape[0]) for member in members])
        self.labelled = bool(y)
        self.spec = {key: Leaf(member.key, member.shape[1:]) for key, member in x.items()}
        self.origin = (str(path.resolve()), split)
        self._path, self._x, self._y, self._split = path, x, y, split

    def read(self, size: int) -> Iterator[Batch]:
        """Yield batches of `size` samples."""
        with ExitStack() as stack:
            with _reading(self.name):
                archive = stack.enter_context(zipfile.ZipFile(self._path))
                x = {key: _Stream(archive, member, stack) for key, member in self._x.items()}
                y = {key: _Stream(archive, member, stack) for key, member in self._y.items()}
            for start in range(0, self.samples, size):
                rows = slice(start, min(start + size, self.samples))
                with _reading(self.name):
                    arrays = pack({key: stream.take(rows) for key, stream in x.items()})
                    labels = pack({key: stream.take(rows) for key, stream in y.items()}) if y else None
                yield Batch(arrays, labels)

    def fingerprint(self) -> str:
        """Return a hash of the file's bytes and of which split this is."""
        return hash_file(self._path, self._split)


class _Stream:
    """The values of one member, taken in order."""

    def __init__(self, archive: zipfile.ZipFile, member: Member, stack: ExitStack) -> None:
        self._member = member
        opened = stack.enter_context(archive.open(member.file))
        assert isinstance(opened, zipfile.ZipExtFile)
        self._file = opened
        _header(self._file, member.key)
        self._mapped = self._map(stack) if member.fortran and len(member.shape) > 1 else None

    def _map(self, stack: ExitStack) -> np.ndarray:
        unpacked = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
        shutil.copyfileobj(self._file, unpacked, _PIECE)
        unpacked.flush()
        return np.memmap(unpacked, self._member.dtype, "r", shape=self._member.shape, order="F")

    def take(self, rows: slice) -> np.ndarray:
        """Return the next rows, which must follow the ones taken last, in native byte order."""
        dtype = self._member.dtype.newbyteorder("=")
        if self._mapped is not None:
            return np.array(self._mapped[rows], dtype, order="C")
        values = np.empty((rows.stop - rows.start, *self._member.shape[1:]), self._member.dtype)
        space = values.reshape(-1).view(np.uint8).data
        filled = 0
        while filled < len(space):
            count = self._file.readinto(space[filled : filled + _PIECE])
            if not count:
                raise ValueError(f"{self._member.key} ends early")
            filled += count
        return values.astype(dtype, copy=False)


def open_npz(path: Path, name: str) -> Parts:
    """Return the data sets in a `.npz` file; `keys` says which names its arrays may have.

    Raises:
        DataError: not a complete zip file, names or dtypes that are not allowed, or a header that promises more than
            the zip holds.
    """
    with _reading(name), zipfile.ZipFile(path) as archive:
        files = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        groups = keys_by_split(files, name)
        members = {
            key: _member(archive, files[key], key, name)
            for group in groups.values()
            for key in (*group.x.values(), *group.y.values())
        }
    parts: dict[str, Dataset] = {}
    for split, group in groups.items():
        x = {key: members[label] for key, label in group.x.items()}
        y = {key: members[label] for key, label in group.y.items()}
        parts[split] = Dataset(NpzSource(path, name, x, y, split))
    return Parts(unsplit=parts.get(""), training=parts.get("train"), test=parts.get("test"))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str, name: str) -> Member:
    with archive.open(info) as file:
        shape, fortran, dtype = _header(file, key)
        held = info.file_size - file.tell()
    check_numeric(name, key, dtype, shape)
    promised = math.prod(shape) * dtype.itemsize
    if promised != held:
        raise DataError(
            f"{name}: {key}'s header promises {promised} bytes, the file holds {held}; write it anew with numpy.savez"
        )
    return Member(key, info.filename, dtype, shape, fortran)


def _header(file: IO[bytes], key: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the magic, version and header of a `.npy` stream: shape, whether in Fortran order, dtype."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{key} has .npy version {version[0]}.{version[1]}, which only structured arrays need")
    shape, fortran, dtype = readers[version](file)
    if any(length < 0 for length in shape):
        raise ValueError(f"{key} has the impossible shape {shape}")
    return shape, fortran, dtype


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn whatever a damaged zip file raises (several libraries' errors) into a DataError."""
    try:
        yield
    except KCompressError:
        raise
    except Exception as error:  # of zipfile, zlib, NumPy and struct
        raise DataError(
            f"{name}: not a readable .npz file ({reason(error)}); write it anew with numpy.savez"
        ) from error
