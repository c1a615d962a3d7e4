"""The size gate: fails when a model file is larger than a limit, or grew too much since the last commit.

growth = (bytes now - bytes at git HEAD) / bytes at git HEAD, in percent

A file that HEAD does not have, or has empty, has no growth to measure and is only checked for its size. A git-lfs
pointer, at HEAD or in the working tree, counts as the size that it states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import click

from kcompress.check.git import file_size, head_sizes
from kcompress.check.limits import SizeLimits, read_config, read_limits
from kcompress.check.paths import expand
from kcompress.errors import UsageError
from kcompress.sizes import format_percents, format_sizes


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """A file's size in bytes now and at HEAD (None: no growth to measure), beside its limits."""

    file: Path
    limits: SizeLimits
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
        return [f"{_one_line(self.file)}: {problem}" for problem in problems]


def check_files(limits: Mapping[Path, SizeLimits]) -> list[CheckedFile]:
    """Measure each file against its limits; git is asked only where a growth limit applies.

    Raises OSError for a file that cannot be read, UsageError when git cannot be asked.
    """
    heads = head_sizes(file for file, limit in limits.items() if limit.max_growth is not None)
    return [
        CheckedFile(file=file, limits=limit, size=file_size(file), head_size=heads.get(file) or None)
        for file, limit in limits.items()
    ]


def _one_line(file: Path) -> str:
    """The path on one line, whatever its name holds."""
    text = file.as_posix()
    return text if text.isprintable() else ascii(text)[1:-1]


def _summary(checked: Sequence[CheckedFile]) -> str:
    files = "1 file" if len(checked) == 1 else f"{len(checked)} files"
    unlimited = sum(one.limits == SizeLimits() for one in checked)
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
    given = read_limits({"max-size": max_size, "max-growth": max_growth}, "")
    config = read_config(Path.cwd())
    if not paths and not config.paths:
        raise UsageError("no PATH given; give one, or set paths under [tool.kcompress.check] in pyproject.toml")
    if given == config.defaults == SizeLimits() and not config.overrides:
        raise UsageError(
            "no limit given; give --max-size 250KB or --max-growth 5%, "
            "or set max-size or max-growth under [tool.kcompress.check] in pyproject.toml"
        )
    try:
        files = expand(paths) if paths else config.files()
        checked = check_files({file: given.or_else(config.limits_for(file)) for file in files})
    except OSError as error:
        raise UsageError(
            f"{error.filename!r} cannot be read: {error.strerror}; check the path and its rights"
        ) from error
    lines = [line for one in checked for line in one.violations()]
    click.echo("\n".join(lines) if lines else _summary(checked))
    if lines:
        ctx.exit(1)
