"""The limits of the size gate: from the command line, else from `[tool.kcompress.check]` in a pyproject.toml."""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any

from kcompress.check.paths import glob_files, location, matches
from kcompress.errors import UsageError
from kcompress.sizes import parse_percent, parse_size

MOST_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class SizeLimits:
    """The most that a file may hold, in bytes, and may grow since HEAD, in percent; None is no limit."""

    max_size: int | None = None
    max_growth: Decimal | None = None

    def or_else(self, other: "SizeLimits") -> "SizeLimits":
        """These limits where they are set, else those of `other`."""
        return SizeLimits(
            max_size=other.max_size if self.max_size is None else self.max_size,
            max_growth=other.max_growth if self.max_growth is None else self.max_growth,
        )


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `[tool.kcompress.check]` says; patterns are relative to `root`, the folder of its pyproject.toml."""

    root: Path
    paths: Sequence[str] = ()
    defaults: SizeLimits = field(default_factory=SizeLimits)
    overrides: Sequence[tuple[Sequence[str], SizeLimits]] = ()

    def files(self) -> list[Path]:
        """The files that match `paths`, relative to the current folder; once for each pattern that matches."""
        root = str(self.root)
        return [Path(os.path.relpath(Path(root, name))) for pattern in self.paths for name in glob_files(pattern, root)]

    def limits_for(self, file: Path) -> SizeLimits:
        """The limits of the first override with a pattern that matches `file`, over the defaults."""
        parts = PurePath(os.path.relpath(location(file), self.root)).parts
        for patterns, limits in self.overrides:
            if any(matches(parts, PurePath(pattern).parts) for pattern in patterns):
                return limits.or_else(self.defaults)
        return self.defaults


def read_config(folder: Path) -> Config:
    """Read the table from the nearest pyproject.toml that has it, from `folder` up. Raises UsageError for bad keys."""
    folder = folder.resolve()
    for file in (place / "pyproject.toml" for place in (folder, *folder.parents)):
        # The search for the word spares parsing, and complaining about, a project that does not use kcompress.
        if not file.is_file():
            continue
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(f"{str(file)!r} takes {size:,} bytes, at most {MOST_BYTES:,} are read; make it shorter")
        if b"kcompress" not in (content := file.read_bytes()):
            continue
        try:
            table: Any = tomllib.loads(content.decode())
        except RecursionError as error:
            raise UsageError(f"{str(file)!r} has too many lists or tables inside of each other; correct it") from error
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
        overrides.append((_read_patterns(entry.get("paths"), entry_where), read_limits(entry, entry_where)))
    return Config(
        root=file.parent,
        paths=_inside(_read_patterns(table["paths"], where), where) if "paths" in table else (),
        defaults=read_limits(table, where),
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


def _inside(patterns: Sequence[str], where: str) -> Sequence[str]:
    """The patterns; UsageError for one that leads out of the folder, which a stranger's repository could ask for."""
    for pattern in map(PurePath, patterns):
        if pattern.is_absolute() or ".." in pattern.parts:
            raise UsageError(
                f"{where}: paths has {str(pattern)!r}, which may lead out of the folder of pyproject.toml; give a "
                "pattern within it, or name such files on the command line"
            )
    return patterns


def read_limits(values: Mapping[str, Any], where: str) -> SizeLimits:
    def read(key: str, parse: Callable[[str], Any]) -> Any:
        value = values.get(key)
        try:
            return None if value is None else parse(str(value))
        except UsageError as error:
            raise UsageError(f"{where}: {key}: {error}" if where else f"--{key}: {error}") from error

    return SizeLimits(max_size=read("max-size", parse_size), max_growth=read("max-growth", parse_percent))
