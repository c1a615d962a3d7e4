"""How large files are now and were at git HEAD; a git-lfs pointer counts as the size that it states."""

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kcompress.errors import UsageError

_POINTER_BELOW = 1024  # bytes; the git-lfs specification keeps its pointers below this
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:[^\n]+\n)*?size ([0-9]{1,18})\n")
# `git commit` hands these to its hooks, but the repository to ask is the one that holds the file.
_GIT_VARIABLES = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})


def file_size(file: Path) -> int:
    """The file's size in bytes; for a git-lfs pointer that was not checked out, the size it states."""
    size = file.stat().st_size
    return _true_size(file.read_bytes(), size) if size < _POINTER_BELOW else size


def head_sizes(files: Iterable[Path]) -> dict[Path, int]:
    """The sizes in bytes at git HEAD of those files that HEAD has; one git process for each repository."""
    by_root: dict[Path, dict[Path, bytes]] = defaultdict(dict)
    for file in files:
        target = file.resolve()
        root = next((folder for folder in target.parents if (folder / ".git").exists()), None)
        if root is not None and "\n" not in str(target):  # git reads a name a line
            by_root[root][file] = b"HEAD:./" + os.fsencode(target.relative_to(root).as_posix())
    return {file: size for root, names in by_root.items() for file, size in _head_sizes_in(root, names)}


def _head_sizes_in(root: Path, names: Mapping[Path, bytes]) -> Iterator[tuple[Path, int]]:
    kinds = _cat_file(root, "--batch-check=%(objecttype) %(objectsize)", names.values()).splitlines()
    # Outside a repository there are no lines at all, hence not strict.
    sizes = {file: int(kind[5:]) for file, kind in zip(names, kinds, strict=False) if kind.startswith(b"blob ")}
    small = [file for file, size in sizes.items() if size < _POINTER_BELOW]
    rest = _cat_file(root, "--batch", [names[file] for file in small]) if small else b""
    for file in small:  # each is "<id> blob <size>", a newline, the content, a newline
        rest = rest.partition(b"\n")[2]
        content, rest = rest[: sizes[file]], rest[sizes[file] + 1 :]
        sizes[file] = _true_size(content, sizes[file])
    yield from sizes.items()


def _cat_file(root: Path, option: str, names: Iterable[bytes]) -> bytes:
    """Ask `git cat-file` about `names`. Empty outside a repository; UsageError when git is missing or refuses."""
    environment = {name: value for name, value in os.environ.items() if name not in _GIT_VARIABLES}
    try:
        done = subprocess.run(
            ["git", "cat-file", option],
            cwd=root,
            env=environment | {"LC_ALL": "C"},
            input=b"".join(name + b"\n" for name in names),
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError("a limit on growth needs git, which is not on PATH; install it, or limit only size") from error
    complaint = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    if done.returncode and not complaint.startswith("fatal: not a git repository"):
        raise UsageError(f"git cannot read HEAD in {str(root)!r} ({complaint}); mend that, or limit only size")
    return done.stdout


def _true_size(content: bytes, size: int) -> int:
    pointer = _POINTER.match(content)
    return int(pointer[1]) if pointer else size
