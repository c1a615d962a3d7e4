"""The base class of sources of samples: a file, a folder, arrays or an iterable.

A source knows no models, splits or requested batch sizes; `Dataset` adds those.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kcompress.data.batches import Batch, Key, split
from kcompress.errors import DataError

InputShapes = Mapping[str, tuple[int | None, ...]]
"""A model's inputs in order: name, and shape with the batch axis in front."""


@dataclass(frozen=True)
class Leaf:
    """One array of the samples: the name that messages give it, and one sample's shape (None: any length)."""

    label: str
    shape: tuple[int | None, ...]


def reason(error: Exception) -> str:
    """Return another library's error as part of a message: its first line, or its type if it says nothing."""
    return str(error).strip().split("\n", 1)[0].rstrip(".") or type(error).__name__


def title(role: str, key: Key) -> str:
    """Return how messages call an array: x, x['left'] or x[0]."""
    return role if key is None else f"{role}[{key!r}]"


class Source(ABC):
    """A re-iterable stream of samples.

    Attributes:
        name: how messages call it, such as the path as it was given.
        samples: their number, or None if only reading all would tell.
        labelled: whether batches have a y.
        classes: the names of the classes whose indices y holds, or None.
        spec: the arrays of x.
        origin: identifies the samples. Two sources have the same ones if the parts are equal texts or identical
            objects.
    """

    name: str
    samples: int | None
    labelled: bool
    classes: tuple[str, ...] | None = None
    spec: dict[Key, Leaf]
    origin: tuple[object, ...]

    @abstractmethod
    def read(self, size: int) -> Iterator[Batch]:
        """Yield all samples from the start; batches of about `size` are handiest, but any will do."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hex string that changes if the content does."""

    def stream(self, size: int, cuts: tuple[bool, ...]) -> Iterator[Batch]:
        """Yield the samples of the test (True) or training split (False), of these the next split, and so on."""
        batches = self.read(size)
        for test in cuts:
            batches = split(batches, test)
        return batches

    def fitted(self, inputs: InputShapes) -> "Source":
        """Return the source of the same samples in the shapes that these inputs need, if it can choose."""
        return self

    def with_classes(self, classes: tuple[str, ...]) -> "Source":
        """Return the source of the same samples with y as indices into these classes, which include its own."""
        return self

    def shuffles(self) -> bool:
        """Return whether reading twice gives the samples in another order."""
        return False


def check_numeric(name: str, label: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Raise DataError unless an array of this dtype and shape (samples first) holds samples of numbers."""
    if dtype.kind not in "biuf":
        raise DataError(
            f"{name}: {label} has dtype {dtype}; allowed are bool, integers and floats; convert it, texts to numbers"
        )
    if not shape:
        raise DataError(f"{name}: {label} is a single number; give an array with one row per sample")
    if 0 in shape:
        raise DataError(f"{name}: {label} has shape {shape}, which holds no values; give at least one sample")


def common_length(name: str, lengths: Iterable[tuple[str, int]]) -> int:
    """Return the length that all these arrays (label, length) have, or raise DataError."""
    (first, samples), *others = lengths
    for label, length in others:
        if length != samples:
            raise DataError(
                f"{name}: {first} has {samples} samples, {label} has {length}; give arrays of the same length"
            )
    return samples


def hash_file(path: Path, *also: object) -> str:
    """Return the SHA-256, in hex, of a file's bytes and of the `repr` of anything else that matters."""
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise DataError(f"{path}: it cannot be read ({error.strerror}); check the path and its permissions") from error
    return hashlib.sha256(f"{content.hexdigest()}{also!r}".encode()).hexdigest()
