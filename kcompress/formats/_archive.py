"""Zip archives that are small and always the same: one compression method per member, chosen by measuring.

Every choice depends on sizes alone, never on the clock, so that the same input gives the same bytes. bzip2 wins on
weights with few distinct values, deflate on dense ones, where bzip2 is slow for nothing; LZMA is worth its speed of
1 to 2 MB/s on small files only.
"""

import bz2
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

SAMPLE_BYTES = 1_000_000
LZMA_LIMIT_BYTES = 2_000_000
WORTHWHILE = 0.97  # a slower method has to save 3 % of what the faster one leaves
EPOCH = (1980, 1, 1, 0, 0, 0)


def best_method(data: Path, deflate_only: bool = False) -> int:
    """The zipfile method for a file, judged on pieces spread over it; the faster one where two are within 3 %."""
    pieces = b"".join(_sample(data))
    sizes = {zipfile.ZIP_STORED: len(pieces), zipfile.ZIP_DEFLATED: len(zlib.compress(pieces, 6))}
    if not deflate_only:
        sizes[zipfile.ZIP_BZIP2] = len(bz2.compress(pieces))
        if data.stat().st_size <= LZMA_LIMIT_BYTES:
            sizes[zipfile.ZIP_LZMA] = _lzma_size(pieces)
    best = zipfile.ZIP_STORED
    for method, size in sizes.items():
        if size < WORTHWHILE * sizes[best]:
            best = method
    return best


def _sample(path: Path) -> list[bytes]:
    total = path.stat().st_size
    with path.open("rb") as stream:
        if total <= LZMA_LIMIT_BYTES:
            return [stream.read()]
        pieces = []
        for number in range(8):
            stream.seek(number * total // 8)
            pieces.append(stream.read(SAMPLE_BYTES // 8))
        return pieces


def _lzma_size(data: bytes) -> int:
    """Size as zip's own LZMA method writes it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x", data)
    return len(target.getvalue())


def write_zip(path: Path, members: Mapping[str, bytes | Path], methods: Mapping[str, int]) -> None:
    """Write members in order, files in pieces; no times or other traces of the machine get in."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = methods.get(name, zipfile.ZIP_DEFLATED)
            info.external_attr = 0o644 << 16
            if isinstance(content, bytes):
                archive.writestr(info, content)
                continue
            info.file_size = content.stat().st_size
            with content.open("rb") as source, archive.open(info, "w") as target:
                while piece := source.read(1 << 20):
                    target.write(piece)
