"""Batches of samples, and functions on streams of them: cutting, joining, splitting, hashing.

The samples of a batch are one array, a dict of arrays (inputs by name) or a tuple of arrays (inputs by position).
`leaves` turns any of the three into a flat dict, and `pack` turns that back.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kcompress.errors import DataError

Arrays: TypeAlias = np.ndarray | dict[str, np.ndarray] | tuple[np.ndarray, ...]
Key: TypeAlias = str | int | None
"""An input's name, its position, or None for the only one."""

FOLD = 5
"""Every fifth sample is test data if the source has no splits."""


def leaves(arrays: Arrays) -> dict[Key, np.ndarray]:
    """Return the arrays by key, in order."""
    if isinstance(arrays, dict):
        return dict(arrays.items())
    if isinstance(arrays, tuple):
        return dict(enumerate(arrays))
    return {None: arrays}


def pack(arrays: Mapping[Key, np.ndarray]) -> Arrays:
    """Return what `leaves` was given."""
    if None in arrays:
        return arrays[None]
    if all(isinstance(key, int) for key in arrays):
        return tuple(arrays.values())
    return {str(key): array for key, array in arrays.items()}


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples: each array of x and y has shape (samples, ...) and its source's dtype; y is None without labels."""

    x: Arrays
    y: Arrays | None = None

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(next(iter(leaves(self.x).values())))

    def take(self, rows: slice | np.ndarray) -> "Batch":
        """Return the batch of these rows: a view for a slice, a copy for a mask or indices."""
        x = pack({key: array[rows] for key, array in leaves(self.x).items()})
        y = None if self.y is None else pack({key: array[rows] for key, array in leaves(self.y).items()})
        return Batch(x, y)


def join(pieces: list[Batch]) -> Batch:
    """Return the samples of all the pieces, in order, as one batch; they must have the same keys."""
    if len(pieces) == 1:
        return pieces[0]
    x = _concatenate([leaves(piece.x) for piece in pieces])
    y = [leaves(piece.y) for piece in pieces if piece.y is not None]
    return Batch(x, _concatenate(y) if y else None)


def _concatenate(pieces: list[dict[Key, np.ndarray]]) -> Arrays:
    return pack({key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]})


def rebatch(stream: Iterable[Batch], size: int, limit: int | None = None) -> Iterator[Batch]:
    """Yield the stream's samples in batches of `size` (the last may be smaller), `limit` samples at most.

    Each sample is copied at most once, and not at all where the stream's own batches have the right size.
    """
    pieces: list[Batch] = []
    held = given = 0
    batches = iter(stream)
    while limit is None or given + held < limit:
        batch = next(batches, None)
        if batch is None:
            break
        end = batch.samples if limit is None else min(batch.samples, limit - given - held)
        start = 0
        while start < end:
            stop = min(end, start + size - held)
            pieces.append(batch.take(slice(start, stop)))
            held += stop - start
            start = stop
            if held == size:
                yield join(pieces)
                given += held
                pieces, held = [], 0
    if pieces:
        yield join(pieces)


def in_split(start: int, count: int, test: bool) -> np.ndarray:
    """Return the mask (count,) of the samples `start`, `start` + 1, … that are in the test or the training split.

    Sample i is test data if i % 5 == 4.
    """
    tested = np.arange(start, start + count) % FOLD == FOLD - 1
    return np.asarray(tested if test else ~tested)


def split_size(samples: int, test: bool) -> int:
    """Return how many of so many samples are in the test or the training split."""
    return samples // FOLD if test else samples - samples // FOLD


def split(stream: Iterable[Batch], test: bool) -> Iterator[Batch]:
    """Yield the samples of the stream that are in the test or the training split."""
    start = 0
    for batch in stream:
        mask = in_split(start, batch.samples, test)
        start += batch.samples
        if mask.any():
            yield batch.take(mask)


def digest(stream: Iterable[Batch], name: str) -> str:
    """Return the SHA-256, in hex, of all samples: values, dtypes, shapes and keys, but not how they are batched."""
    hashes: dict[str, hashlib._Hash] = {}
    for batch in stream:
        for role, arrays in (("x", batch.x), ("y", batch.y)):
            for key, array in leaves(arrays).items() if arrays is not None else ():
                title = f"{role}:{key!r}:{array.dtype.str}:{array.shape[1:]}"
                if title not in hashes:
                    hashes[title] = hashlib.sha256(title.encode())
                hashes[title].update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    if not hashes:
        raise DataError(f"{name}: it holds no samples; give at least one")
    return hashlib.sha256("".join(part.hexdigest() for part in hashes.values()).encode()).hexdigest()
