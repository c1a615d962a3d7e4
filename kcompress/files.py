"""Files that appear whole or not at all: written to names of their own beside their places, then renamed.

And what there is at a path that is to be read: reading what is no file can wait forever.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kcompress import leftovers
from kcompress.errors import KCompressError, OutputError, one_line

SPECIAL = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


def kind_of(path: Path) -> str | None:
    """`a file`, `a folder`, `a FIFO` or the like, through links; None where there is nothing that can be looked at."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return "a folder" if stat.S_ISDIR(mode) else SPECIAL.get(stat.S_IFMT(mode), "a file")


def check_file(path: Path, error: type[KCompressError], advice: str, most_bytes: int | None = None) -> None:
    """Raise an error, with advice, unless there is a file at a path, of so many bytes at most."""
    kind = kind_of(path)
    if kind is None:
        raise error(f"{path}: no such file; {advice}")
    if kind != "a file":
        raise error(f"{path}: is {kind}, not a file; {advice}")
    size = path.stat().st_size
    if most_bytes is not None and size > most_bytes:
        raise error(f"{path}: takes {size:,} bytes, at most {most_bytes:,} are read; {advice}")


@contextmanager
def in_utf8(path: Path) -> Iterator[Path]:
    """A path for libraries that take only UTF-8: the path itself, or meanwhile a link to it."""
    try:
        str(path).encode()
        plain = True
    except UnicodeEncodeError:
        plain = False
    if plain:
        yield path
        return
    with leftovers.temporary_folder() as folder:
        link = folder / f"model{path.suffix}"
        link.symlink_to(path.absolute())
        yield link


def draft_of(target: Path) -> Path:
    """A path beside the target that nothing else uses, with the same suffix. Its name is short, however long theirs."""
    return target.with_name(f"{_prefix(target)}{leftovers.mark()}.partial{target.suffix}")


def _prefix(target: Path) -> str:
    return f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}-"


@contextmanager
def whole(targets: Iterable[Path]) -> Iterator[list[Path]]:
    """A draft for each target; all take their places at the end, and none does where anything fails.

    Drafts for them of runs that were killed are removed.

    Raises OutputError where the file system refuses to write.
    """
    places = list(targets)
    for target in places:
        leftovers.remove(target.parent, f"{_prefix(target)}*.partial*")
    drafts = [draft_of(target) for target in places]
    try:
        yield drafts
        for draft, target in zip(drafts, places, strict=True):
            with writing(target):
                draft.replace(target)
    except KCompressError as error:
        error.args = (_with_names(str(error), drafts, places),)
        raise
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


def _with_names(text: str, drafts: Iterable[Path], targets: Iterable[Path]) -> str:
    """A message with the names that the user gave."""
    for draft, target in zip(drafts, targets, strict=True):
        text = text.replace(draft.name, target.name)
    return text


def put(contents: Mapping[Path, bytes]) -> None:
    """Write files that go together."""
    with whole(contents) as drafts:
        for draft, (target, content) in zip(drafts, contents.items(), strict=True):
            with writing(target):
                draft.write_bytes(content)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Meanwhile, what the file system refuses is an OutputError that names the target."""
    try:
        yield
    except KCompressError:
        raise
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({one_line(error)}); free space or give another path"
        ) from error
