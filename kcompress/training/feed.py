"""The training data as batches of one size, in an order that the seed and the number of a batch alone decide.

Samples are gathered once, into memory or, where they take more than MEMORY, into files. So every batch can be had at
any time, on any backend, and again after a run was killed. Data that is another each time it is read, as where it is
augmented, is read through instead, over and over.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.errors import DataError, UsageError
from kcompress.model.signature import signature
from kcompress.training.labelled import Labelled, labelled

Array = NDArray[Any]
Batch = tuple[dict[str, Array], list[Array]]
"""Inputs by name, and labels by output; no labels where the data has none."""

MEMORY = 2_000_000_000
"""Bytes of samples that are held in memory."""
READ = 256
SIZE = 32
KEPT = 16
"""Batches that data which is read through still gives again; more than any backend reads ahead."""


class Feed(Protocol):
    """What training reads from. `samples` are those of an epoch, `size` those of a batch."""

    @property
    def samples(self) -> int: ...
    @property
    def size(self) -> int: ...

    def batch(self, number: int) -> Batch:
        """Batch `number`, counted from 0 over all epochs."""

    @property
    def per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over has its turn in another epoch."""


@dataclass(frozen=True)
class ArrayFeed:
    """Samples that can be had in any order: arrays by input name, one array for each output, and more inputs."""

    x: Mapping[str, Array]
    y: Sequence[Array]
    size: int
    seed: int
    rows: Array
    """The samples to take, by index."""
    more: Mapping[str, Array] = field(default_factory=dict)
    shuffled: bool = True
    parts: int = 1
    """What the size of a batch has to be a multiple of."""

    @property
    def samples(self) -> int:
        return len(self.rows)

    @property
    def count(self) -> int:
        """All samples there are, taken or not."""
        return len(next(iter(self.x.values())))

    @property
    def per_epoch(self) -> int:
        return self.samples // self.size

    def batch(self, number: int) -> Batch:
        epoch, place = divmod(number, self.per_epoch)
        order = self._order(epoch)[place * self.size : (place + 1) * self.size]
        return self.take(order)

    def take(self, rows: Array) -> Batch:
        """The samples of these indices."""
        x = {name: np.asarray(array[rows]) for name, array in (*self.x.items(), *self.more.items())}
        return x, [np.asarray(array[rows]) for array in self.y]

    def _order(self, epoch: int) -> Array:
        if not self.shuffled:
            return self.rows
        if not self._orders or self._orders[0][0] != epoch:
            self._orders[:] = [(epoch, np.random.default_rng((self.seed, epoch)).permutation(self.rows))]
        return self._orders[0][1]

    _orders: list[tuple[int, Array]] = field(default_factory=list, init=False, repr=False, compare=False)

    def apart(self, share: float) -> tuple["ArrayFeed", "ArrayFeed | None"]:
        """These samples without, and only, a random share to validate on; None for no share.

        Raises DataError if that leaves less than a batch.
        """
        count = round(share * self.samples)
        if not count:
            return self, None
        order = np.random.default_rng((self.seed, 1 << 32)).permutation(self.rows)
        size = min(self.size, count // self.parts * self.parts)
        if not size:
            raise DataError(
                f"validation={share:g} is {count:,} samples, too few for a batch of {self.parts}; give a larger share"
            )
        training, rest = np.sort(order[count:]), np.sort(order[:count])
        if len(training) < self.size:
            raise DataError(
                f"{len(training):,} samples are left to train on without those for validation, less than a batch of "
                f"{self.size:,}; give a smaller batch, or a smaller share for validation"
            )
        return replace(self, rows=training), replace(self, rows=rest, size=size, shuffled=False)


@dataclass
class StreamFeed:
    """Samples as they come; `start` gives them from the first on, and may give others each time."""

    start: Callable[[int], Iterator[Labelled]]
    samples: int
    size: int
    _stream: Iterator[Labelled] = field(default_factory=lambda: iter(()))
    _recent: deque[tuple[int, Batch]] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def per_epoch(self) -> int:
        return self.samples // self.size

    def batch(self, number: int) -> Batch:
        for held, batch in self._recent:
            if held == number:
                return batch
        found = self._next()
        self._recent.append((number, (found.inputs, found.labels)))
        return self._recent[-1][1]

    def _next(self) -> Labelled:
        for _ in range(2):
            for found in self._stream:
                if found.samples == self.size:
                    return found
            self._stream = self.start(self.size)
        raise DataError(f"fewer than {self.size} samples were left when the training data was read again")


def feed(
    model: Any, data: Dataset, size: int | None, seed: int, folder: Path, labels: bool, parts: int = 1
) -> ArrayFeed | StreamFeed:
    """The training data for a model, in batches of `size`, or of the size that the model has fixed.

    Without either, batches have SIZE samples, or the next multiple of `parts`, or all there are. `parts` are devices
    that each batch is divided among, `folder` is for what does not fit into memory.
    Raises DataError for fewer samples than a batch has, UsageError for a batch that can't be divided.
    """
    sign = signature(model)
    fitted = data if data.bindings else data.fit_to(sign.inputs)
    samples = fitted.counted()
    fixed = sign.batch
    size = fixed or size or _size(samples, parts, data.name)
    if size % parts:
        raise UsageError(
            f"batch={size} can't be divided among {parts} devices; give a multiple, such as {-(-size // parts) * parts}"
        )
    if samples < size:
        raise DataError(f"{data.name}: {samples:,} samples are less than a batch of {size:,}; give a smaller batch")

    def read(rows: int) -> Iterator[Labelled]:
        return labelled(model, fitted, rows, labels=labels)

    if fitted.source.shuffles():
        return StreamFeed(read, samples, size)
    x, y = _gathered(read(size if size > READ else READ // size * size), samples, folder)
    return ArrayFeed(x, y, size, seed, np.arange(samples), parts=size if fixed else parts)


def _size(samples: int, parts: int, name: str) -> int:
    """The samples in a batch where nobody says: a multiple of `parts`."""
    if samples < parts:
        raise DataError(f"{name}: {samples:,} samples are less than one for each of {parts} devices; give more")
    return min(-(-SIZE // parts), samples // parts) * parts


def _gathered(batches: Iterator[Labelled], samples: int, folder: Path) -> tuple[dict[str, Array], list[Array]]:
    """All samples as arrays."""
    first = next(batches)
    kinds = {**first.inputs, **{f"/{number}": label for number, label in enumerate(first.labels)}}
    fits = sum(array[:1].nbytes for array in kinds.values()) * samples <= MEMORY
    room = {
        name: _room(array, samples, None if fits else folder / f"{number}.npy")
        for number, (name, array) in enumerate(kinds.items())
    }
    start = 0
    for batch in itertools.chain([first], batches):
        stop = min(start + batch.samples, samples)
        for name, array in {**batch.inputs, **{f"/{n}": label for n, label in enumerate(batch.labels)}}.items():
            room[name][start:stop] = array[: stop - start]
        start = stop
    return {n: room[n] for n in first.inputs}, [room[f"/{n}"] for n in range(len(first.labels))]


def _room(like: Array, samples: int, path: Path | None) -> Array:
    shape = (samples, *like.shape[1:])
    return np.empty(shape, like.dtype) if path is None else np.lib.format.open_memmap(path, "w+", like.dtype, shape)
