"""The size gate: fails when a model file is larger than a limit, or grew too much since the last commit.

growth = (bytes now - bytes at git HEAD) / bytes at git HEAD, in percent

A file that HEAD does not have, or has empty, has no growth to measure and is only checked for its size. A git-lfs
pointer, at HEAD or in the working tree, counts as the size that it states. Limits come from the command line, else
from `[tool.kcompress.check]` in the nearest pyproject.toml that has this table. The gate runs at every commit, so
this module and `git_sizes` import the standard library and click only.
"""

import glob
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any

import click

from kcompress.check.git import file_size, head_sizes
from kcompress.errors import UsageError
from kcompress.sizes import format_percents, format_sizes, parse_percent, parse_size

MODEL_SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite", ".onnx")
SKIPPED_FOLDERS = frozenset({".git", ".venv", "node_modules"})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a file may hold, in bytes, and may grow since HEAD, in percent; None is no limit."""

    max_size: int | None = None
    max_growth: Decimal | None = None

    def over(self, other: "Limits") -> "Limits":
        """These limits where they are set, else those of `other`."""
        return Limits(
            max_size=other.max_size if self.max_size is None else self.max_size,
            max_growth=other.max_growth if self.max_growth is None else self.max_growth,
        )


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """A file's size in bytes now and at HEAD (None: no growth to measure), beside its limits."""

    file: Path
    limits: Limits
    size: int
    head_size: int | None

    def violations(self) -> list[str]:
        """One line for each limit that the file is over."""
        problems = []
        limit, percent, head = self.limits.max_size, self.limits.max_growth, self.head_size
        if limit is not None and self.size > limit:
            problems.append("{} is over the limit of {}".format(*format_sizes(self.size, limit)))
        if percent is not None and head is not None and (self.size - head) * 100 > percent * head:
            growth, most = format_percents((self.size - head) * Decimal(100) / head, percent)
            sizes = " to ".join(format_sizes(head, self.size))
            problems.append(f"grew {growth} since HEAD ({sizes}), over the limit of {most}")
        return [f"{_shown(self.file)}: {problem}" for problem in problems]


def check_files(limits: Mapping[Path, Limits]) -> list[CheckedFile]:
    """Measure each file against its limits; git is asked only where a growth limit applies.

    Raises OSError for a file that cannot be read, UsageError when git cannot be asked.
    """
    heads = head_sizes(file for file, limit in limits.items() if limit.max_growth is not None)
    return [
        CheckedFile(file=file, limits=limit, size=file_size(file), head_size=heads.get(file) or None)
        for file, limit in limits.items()
    ]


# Which files


def expand(paths: Iterable[str]) -> list[Path]:
    """The files that `paths` (files, folders, glob patterns) name, each once. UsageError for one that names none."""
    files: dict[Path, Path] = {}
    for path in paths:
        for file in _expand_one(path):
            files.setdefault(_place(file), file)
    return list(files.values())


def _expand_one(path: str) -> list[Path]:
    if path and Path(path).is_file():
        return [Path(path)]
    files: list[Path] = []
    if path and Path(path).is_dir():
        files = sorted(_walk(path))
        problem = f"holds no model file ({', '.join(MODEL_SUFFIXES)}); give a folder that does, or the file itself"
    elif glob.has_magic(path):
        files = [Path(name) for name in _glob(path)]
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


def _glob(pattern: str, root: str = "") -> list[str]:
    """The files below `root` that match, sorted; one in a skipped folder only if the pattern names that folder."""
    skipped = SKIPPED_FOLDERS.difference(PurePath(pattern).parts)
    names = glob.glob(pattern, root_dir=root or None, recursive=True)  # noqa: PTH207 (Path.glob enters hidden folders)
    return sorted(name for name in names if skipped.isdisjoint(PurePath(name).parts) and Path(root, name).is_file())


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches a glob pattern, both split at '/'; `**` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _place(file: Path) -> Path:
    """Where the file is, through linked folders, but not through the file if it is a link itself."""
    return file.parent.resolve() / file.name


# How large


# Limits, from the command line and pyproject.toml


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `[tool.kcompress.check]` says; patterns are relative to `root`, the folder of its pyproject.toml."""

    root: Path
    paths: Sequence[str] = ()
    defaults: Limits = field(default_factory=Limits)
    overrides: Sequence[tuple[Sequence[str], Limits]] = ()

    def files(self) -> list[Path]:
        """The files that match `paths`, relative to the current folder; once for each pattern that matches."""
        root = str(self.root)
        return [Path(os.path.relpath(Path(root, name))) for pattern in self.paths for name in _glob(pattern, root)]

    def limits_for(self, file: Path) -> Limits:
        """The limits of the first override with a pattern that matches `file`, over the defaults."""
        parts = PurePath(os.path.relpath(_place(file), self.root)).parts
        for patterns, limits in self.overrides:
            if any(_matches(parts, PurePath(pattern).parts) for pattern in patterns):
                return limits.over(self.defaults)
        return self.defaults


def read_config(folder: Path) -> Config:
    """Read the table from the nearest pyproject.toml that has it, from `folder` up. Raises UsageError for bad keys."""
    folder = folder.resolve()
    for file in (place / "pyproject.toml" for place in (folder, *folder.parents)):
        # The search for the word spares parsing, and complaining about, a project that does not use kcompress.
        if not file.is_file() or b"kcompress" not in (content := file.read_bytes()):
            continue
        try:
            table: Any = tomllib.loads(content.decode())
        except ValueError as error:
            raise UsageError(f"{str(file)!r} cannot be read: {error}; correct it") from error
        for key in ("tool", "kcompress", "check"):
            table = table.get(key) if isinstance(table, dict) else None
        if table is not None:
            return _read_table(table, file)
    return Config(root=folder)


def _read_table(table: Any, file: Path) -> Config:
    where = f"{file.name}: [tool.kcompress.check]"
    _check_keys(table, ("paths", "max-size", "max-growth", "limits"), where)
    entries = table.get("limits", [])
    overrides = []
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        entry_where = f"{file.name}: [[tool.kcompress.check.limits]] number {number}"
        _check_keys(entry, ("paths", "max-size", "max-growth"), entry_where)
        overrides.append((_read_patterns(entry.get("paths"), entry_where), _read_limits(entry, entry_where)))
    return Config(
        root=file.parent,
        paths=_read_patterns(table["paths"], where) if "paths" in table else (),
        defaults=_read_limits(table, where),
        overrides=overrides,
    )


def _check_keys(table: Any, allowed: Sequence[str], where: str) -> None:
    if not isinstance(table, dict):
        raise UsageError(f"{where} is {table!r}; it must be a table with keys out of {', '.join(allowed)}")
    for key in table:
        if key not in allowed:
            from difflib import get_close_matches

            near = get_close_matches(key, allowed, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"use {', '.join(allowed)}"
            raise UsageError(f"{where} has an unknown key {key!r}; {hint}")


def _read_patterns(value: Any, where: str) -> list[str]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not patterns or not all(isinstance(one, str) and one for one in patterns):
        raise UsageError(f"{where}: paths is {value!r}; give one or more patterns, such as ['models/**/*.tflite']")
    return patterns


def _read_limits(values: Mapping[str, Any], where: str) -> Limits:
    def read(key: str, parse: Callable[[str], Any]) -> Any:
        value = values.get(key)
        try:
            return None if value is None else parse(str(value))
        except UsageError as error:
            raise UsageError(f"{where}: {key}: {error}" if where else f"--{key}: {error}") from error

    return Limits(max_size=read("max-size", parse_size), max_growth=read("max-growth", parse_percent))


# What is printed


def _shown(file: Path) -> str:
    """The path on one line, whatever its name holds."""
    text = file.as_posix()
    return text if text.isprintable() else ascii(text)[1:-1]


def _summary(checked: Sequence[CheckedFile]) -> str:
    files = "1 file" if len(checked) == 1 else f"{len(checked)} files"
    unlimited = sum(one.limits == Limits() for one in checked)
    new = sum(one.limits.max_growth is not None and one.head_size is None for one in checked)
    notes = [f"{unlimited} of them without a limit"] * bool(unlimited)
    notes += [f"{new} of them not in HEAD, so growth was not measured"] * bool(new)
    return "; ".join([f"{files} within limits", *notes])


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--max-size", metavar="SIZE", help="The most that a file may hold: 250KB, 250KiB, 1.5MB, or bytes.")
@click.option("--max-growth", metavar="PERCENT", help="The most that a file may grow since git HEAD: 5% or 5.")
@click.pass_context
def check(ctx: click.Context, paths: Sequence[str], max_size: str | None, max_growth: str | None) -> None:
    """Fail when a model file is too large or grew too much.

    PATH is a file, a folder (its .keras, .h5, .hdf5, .tflite and .onnx files are checked) or a quoted pattern such as
    'models/**/*.tflite'. Without PATH, the patterns come from `paths` in pyproject.toml, under [tool.kcompress.check];
    max-size and max-growth can stand there too. An option given here replaces them.

    Exit codes: 0 all within limits, 1 a limit is broken, 2 bad usage.
    """
    given = _read_limits({"max-size": max_size, "max-growth": max_growth}, "")
    config = read_config(Path.cwd())
    if not paths and not config.paths:
        raise UsageError("no PATH given; give one, or set paths under [tool.kcompress.check] in pyproject.toml")
    if given == config.defaults == Limits() and not config.overrides:
        raise UsageError(
            "no limit given; give --max-size 250KB or --max-growth 5%, "
            "or set max-size or max-growth under [tool.kcompress.check] in pyproject.toml"
        )
    try:
        files = expand(paths) if paths else config.files()
        checked = check_files({file: given.over(config.limits_for(file)) for file in files})
    except OSError as error:
        raise UsageError(
            f"{error.filename!r} cannot be read: {error.strerror}; check the path and its rights"
        ) from error
    lines = [line for one in checked for line in one.violations()]
    click.echo("\n".join(lines) if lines else _summary(checked))
    if lines:
        ctx.exit(1)
