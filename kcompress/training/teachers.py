"""Teachers, and their outputs for the training data: computed once, and kept on disk for the next training."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import cache
from kcompress.cache import digest_of
from kcompress.errors import ModelError
from kcompress.formats import find
from kcompress.model.signature import signature
from kcompress.training.compiled import compiled
from kcompress.training.feed import ArrayFeed

Array = NDArray[Any]


@dataclass(frozen=True)
class Teacher:
    """A model to learn from: what messages call it, what identifies its content, and how to get it.

    `load` gives one that nobody else has, since training freezes it.
    """

    name: str
    digest: str
    load: Callable[[], Any]

    @classmethod
    def from_file(cls, path: Path, trust: Sequence[str]) -> "Teacher":
        """A model file as a teacher; OSError if it can't be read."""
        return cls(str(path), digest_of(path), lambda: find(path).read(path, trust))


def check_teacher(name: str, teacher: Any, student: Any) -> None:
    """ModelError unless the teacher takes what the student takes and gives outputs of the same shapes."""
    check_shapes(name, teacher, student, "teacher", "student")


def check_shapes(name: str, model: Any, other: Any, what: str, than: str) -> None:
    """ModelError, which says both, unless two models have inputs and outputs of the same shapes."""
    mine, theirs = signature(model), signature(other)
    pairs = (
        ("inputs", list(mine.inputs.values()), list(theirs.inputs.values())),
        ("outputs", [tuple(t.shape) for t in model.outputs], [tuple(t.shape) for t in other.outputs]),
    )
    for part, one, two in pairs:
        if len(one) != len(two) or not all(map(fits, one, two)):
            raise ModelError(
                f"{name}: the {what}'s {part} are {shown(one)}, the {than}'s {shown(two)}; give a {what} of the same "
                "shapes"
            )


def fits(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> bool:
    """Whether two shapes are the same but for the batch and for what one of them leaves open."""
    return len(one) == len(other) and all(a == b or None in (a, b) for a, b in zip(one[1:], other[1:], strict=True))


def shown(shapes: Sequence[tuple[int | None, ...]]) -> str:
    """Shapes in words, without the batch."""
    return ", ".join(str(tuple(shape[1:])) for shape in shapes)


def cached_outputs(
    view: Any,
    dtypes: Mapping[str, str],
    samples: ArrayFeed,
    size: int,
    key: str,
    scratch: Path,
    advance: Callable[[int], None],
) -> list[Array]:
    """What a teacher's view gives for all samples, as arrays in files; those of an earlier run where there are some.

    `dtypes` are those that the teacher takes the samples' arrays in, by their names, `size` of them at a time. `key`
    identifies the teacher, what it is asked for, and the samples; it is empty if nothing does. `scratch` is where files
    go then, or if the cache can't be written.
    """
    name = f"teacher-{key}"
    if key and (kept := cache.made(name)) is not None:
        return _read(kept)
    run = compiled(view, dtypes, lambda inputs: inputs, lambda outputs, _: outputs)
    count = samples.count
    with _making(cache.entry(name) if key else None, scratch) as made:
        arrays: list[Any] = []  # maps of files
        for start in range(0, count, size):
            rows = np.arange(start, start + size) % count  # full batches, for models of a fixed size
            outputs = run(samples.take(rows)[0])
            stop = min(start + size, count)
            for number, output in enumerate(outputs):
                if start == 0:
                    shape = (count, *output.shape[1:])
                    arrays.append(np.lib.format.open_memmap(made / f"{number}.npy", "w+", output.dtype, shape))
                arrays[number][start:stop] = output[: stop - start]
            advance(stop - start)
        for array in arrays:
            array.flush()
    return _read(made if made.is_dir() else cache.entry(name))


def _read(folder: Path) -> list[Array]:
    """The arrays in a folder, in order."""
    files = sorted(folder.glob("*.npy"), key=lambda path: int(path.stem))
    return [np.load(path, mmap_mode="r") for path in files]


@contextmanager
def _making(folder: Path | None, scratch: Path) -> Iterator[Path]:
    """A folder to write to, that becomes `folder` once it is whole; one in `scratch` if that can't be, or is None."""
    with ExitStack() as stack:
        draft = None
        if folder is not None:
            with suppress(OSError):
                draft = stack.enter_context(cache.making(folder))
        yield draft or Path(tempfile.mkdtemp(dir=scratch))
