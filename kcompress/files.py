"""Files that appear whole or not at all: written to names of their own beside their places, then renamed."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kcompress.errors import KCompressError, OutputError, one_line


def draft_of(target: Path) -> Path:
    """A path beside the target that no other run uses, with the same suffix."""
    return target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")


@contextmanager
def whole(targets: Iterable[Path]) -> Iterator[list[Path]]:
    """A draft for each target; all take their places at the end, and none does where anything fails.

    Raises OutputError where the file system refuses to write.
    """
    places = list(targets)
    drafts = [draft_of(target) for target in places]
    try:
        yield drafts
        for draft, target in zip(drafts, places, strict=True):
            with writing(target):
                draft.replace(target)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


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
