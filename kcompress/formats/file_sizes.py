"""Sizes of model files and folders, as they are and under gzip."""

import zlib
from pathlib import Path


def file_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in _files(path))


def taken_bytes(path: Path) -> int:
    """What a file takes on the disk: less than its size where it has holes."""
    found = path.stat()
    return min(found.st_size, 512 * getattr(found, "st_blocks", found.st_size))


def gzip_bytes(path: Path) -> int:
    """Size under gzip at its default level, the way a server would send it; read in pieces."""
    total = 0
    for file in _files(path):
        packer = zlib.compressobj(6, wbits=31)
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                total += len(packer.compress(piece))
        total += len(packer.flush())
    return total


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
