"""Zip archives that are small and always the same: one compression method per member, chosen by measuring.

Every choice depends on sizes alone, never on the clock, so that the same input gives the same bytes. Dense weights are
deflated, since other methods are slow for nothing. Weights with few distinct values gain from bzip2, and from LZMA with
its literal coder set to the width of a number: the states of `lp` tell the bytes of a float16 apart, `lc` shows it the
upper bits of the byte before. Next to no repetition is to be found there, so a short search does; a long one, which
takes several times as long, is for small files.
"""

import importlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kcompress.keras_internals import set_compressor

SAMPLE_BYTES = 1_000_000
SMALL_BYTES = 1_000_000  # every method is tried on the whole, and the smallest taken
DENSE = 0.75  # deflate leaves more than this of weights that are not on a grid
WORTHWHILE = 0.97  # a slower method has to save 3 % of what the faster one leaves
EPOCH = (1980, 1, 1, 0, 0, 0)
LITERALS = ((0, 0), (3, 1), (0, 1), (0, 2))  # lc and lp of LZMA
DICTIONARY_BYTES = 1 << 23


@dataclass(frozen=True)
class Method:
    """A method of zip; for LZMA `lc` and `lp`, and whether it searches long or short."""

    kind: int
    lc: int = 0
    lp: int = 0
    long: bool = False

    def packer(self, length: int) -> Any:
        """An object with `compress` and `flush`, for so many bytes."""
        if self.kind == zipfile.ZIP_LZMA:
            return _Lzma(self, length)
        if self.kind == zipfile.ZIP_BZIP2:
            return importlib.import_module("bz2").BZ2Compressor()
        return zlib.compressobj(6 if self.kind == zipfile.ZIP_DEFLATED else 0, zlib.DEFLATED, -15)

    def size(self, data: bytes) -> int:
        packer = self.packer(len(data))
        return len(packer.compress(data)) + len(packer.flush())


STORED, DEFLATED, BZIP2 = (Method(kind) for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))


class _Lzma:
    """A member under LZMA as zip wants it: version, length and values of the properties, raw stream with its end.

    Tables for a large dictionary take longer to set up than a small member takes to compress.
    """

    def __init__(self, method: Method, length: int) -> None:
        library = importlib.import_module("lzma")
        reach = min(DICTIONARY_BYTES, max(4096, 1 << (length - 1).bit_length()))
        coder = {"lc": method.lc, "lp": method.lp, "pb": method.lp, "dict_size": reach}
        search = {} if method.long else {"mf": library.MF_BT2, "depth": 4, "nice_len": 64}
        chain = [{"id": library.FILTER_LZMA1, "preset": 6, **coder, **search}]
        self._packer = library.LZMACompressor(library.FORMAT_RAW, filters=chain)
        packed = (method.lp * 5 + method.lp) * 9 + method.lc
        self._header = struct.pack("<BBHBI", 9, 4, 5, packed, DICTIONARY_BYTES)

    def compress(self, data: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + bytes(self._packer.compress(data))

    def flush(self) -> bytes:
        return self.compress(b"") + bytes(self._packer.flush())


def best_method(content: bytes | Path, deflate_only: bool = False) -> Method:
    """The method for a member: the smallest for a small one, else judged on pieces spread over it.

    Of a large one, a slower method has to be worth its time.
    """
    small = _length(content) <= SMALL_BYTES
    pieces = _sample(content)
    best, left = STORED, len(pieces)
    for method in _candidates(small, deflate_only):
        size = method.size(pieces)
        if size < (1 if small else WORTHWHILE) * left:
            best, left = method, size
        if method == DEFLATED and not small and size > DENSE * len(pieces):
            break
    return best


def _candidates(small: bool, deflate_only: bool) -> Iterator[Method]:
    """From fast to slow. Python may have been built without bzip2 or LZMA."""
    yield DEFLATED
    if deflate_only:
        return
    if _has("bz2"):
        yield BZIP2
    if _has("lzma"):
        for long in (False, True) if small else (False,):
            yield from (Method(zipfile.ZIP_LZMA, lc, lp, long) for lc, lp in (LITERALS if small else LITERALS[:2]))


def _has(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _length(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _stream(content: bytes | Path) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _sample(content: bytes | Path) -> bytes:
    total = _length(content)
    with _stream(content) as stream:
        if total <= SMALL_BYTES:
            return stream.read()
        pieces = []
        for number in range(8):
            stream.seek(number * total // 8)
            pieces.append(stream.read(SAMPLE_BYTES // 8))
        return b"".join(pieces)


def write_zip(path: Path, members: Mapping[str, bytes | Path], methods: Mapping[str, Method]) -> None:
    """Write members in order, in pieces; no times or other traces of the machine get in."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            method = methods.get(name, DEFLATED)
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = method.kind
            info.create_system, info.external_attr = 3, 0o644 << 16
            info.file_size = _length(content)
            with _stream(content) as source, archive.open(info, "w") as opened:
                target: Any = opened
                if method.kind == zipfile.ZIP_LZMA:
                    set_compressor(target, method.packer(info.file_size))
                while piece := source.read(1 << 20):
                    target.write(piece)
