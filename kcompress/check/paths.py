"""Which files the size gate checks: files, folders and glob patterns become a list of files, each once."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from kcompress.errors import UsageError

MODEL_SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite", ".onnx")
SKIPPED_FOLDERS = frozenset({".git", ".venv", "node_modules"})


def expand(paths: Iterable[str]) -> list[Path]:
    """The files that `paths` (files, folders, glob patterns) name, each once. UsageError for one that names none."""
    files: dict[Path, Path] = {}
    for path in paths:
        for file in _expand_one(path):
            files.setdefault(location(file), file)
    return list(files.values())


def _expand_one(path: str) -> list[Path]:
    if path and Path(path).is_file():
        return [Path(path)]
    files: list[Path] = []
    if path and Path(path).is_dir():
        files = sorted(_walk(path))
        problem = f"holds no model file ({', '.join(MODEL_SUFFIXES)}); give a folder that does, or the file itself"
    elif glob.has_magic(path):
        files = [Path(name) for name in glob_files(path)]
        problem = "matches no file; '**' stands for any number of folders, as in 'models/**/*.keras'"
    else:
        problem = "is no file or folder; give one that exists, or a quoted pattern such as 'models/**/*.keras'"
    if not files:
        raise UsageError(f"{path!r} {problem}")
    return files


def _walk(folder: str) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        yield from (Path(place, name) for name in names if name.lower().endswith(MODEL_SUFFIXES))


def glob_files(pattern: str, root: str = "") -> list[str]:
    """The files below `root` that match, sorted; one in a skipped folder only if the pattern names that folder."""
    skipped = SKIPPED_FOLDERS.difference(PurePath(pattern).parts)
    names = glob.glob(pattern, root_dir=root or None, recursive=True)  # noqa: PTH207 (Path.glob enters hidden folders)
    return sorted(name for name in names if skipped.isdisjoint(PurePath(name).parts) and Path(root, name).is_file())


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches a glob pattern, both split at '/'; `**` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(matches(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def location(file: Path) -> Path:
    """Where the file is, through linked folders, but not through the file if it is a link itself."""
    return file.parent.resolve() / file.name
