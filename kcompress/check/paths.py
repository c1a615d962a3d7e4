"""Which files the size gate checks: files, folders and glob patterns become a list of files, each once."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
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
        found = (Path(place, name) for name in names if name.lower().endswith(MODEL_SUFFIXES))
        yield from (file for file in found if file.is_file())


def glob_files(pattern: str, root: str = "") -> list[str]:
    """The files below `root` that match, sorted; one in a skipped folder only if the pattern names that folder.

    Each folder is looked through once for each place in the pattern that it can stand at, whatever links lead to it.
    """
    parts = PurePath(pattern).parts
    fixed = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    rest = parts[fixed:]
    skipped = SKIPPED_FOLDERS.difference(parts)
    waiting = [(PurePath(*parts[:fixed]), _open({0}, rest))]
    seen = set()
    found = []
    for folder, places in waiting:  # which grows
        place = Path(root, folder)
        if not places or (key := (_identity(place), places)) in seen or not skipped.isdisjoint(folder.parts):
            continue
        seen.add(key)
        for entry in _entries(place):
            inner = _step(entry.name, places, rest, hidden=False)
            if entry.is_dir():
                waiting.append((folder / entry.name, inner))
            elif entry.is_file() and len(rest) in inner:
                found.append(str(folder / entry.name))
    return sorted(found)


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    """What is in a folder, in the order of names; nothing if there is none."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open(places: Iterable[int], pattern: Sequence[str]) -> frozenset[int]:
    """The places in a pattern that are reached from these: `**` may stand for no folder."""
    found = set(places)
    for place in sorted(found):
        while place < len(pattern) and pattern[place] == "**":
            place += 1
            found.add(place)
    return frozenset(found)


def _step(name: str, places: Iterable[int], pattern: Sequence[str], hidden: bool) -> frozenset[int]:
    """The places in a pattern that are reached behind a name. Wildcards match names with a dot in front if `hidden`."""
    found = set()
    for place in places:
        part = pattern[place] if place < len(pattern) else ""
        if name.startswith(".") and not part.startswith(".") and not hidden:
            continue
        if part == "**":
            found.add(place)
        elif part and fnmatch(name, part):
            found.add(place + 1)
    return _open(found, pattern)


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches a glob pattern, both split at '/'; `**` stands for any number of folders."""
    places = _open({0}, pattern)
    for part in parts:
        places = _step(part, places, pattern, hidden=True)
    return len(pattern) in places


def location(file: Path) -> Path:
    """Where the file is, through linked folders, but not through the file if it is a link itself."""
    return file.parent.resolve() / file.name
