"""The type of all data sets: a re-iterable stream of batches, whatever its source."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from kcompress.data.batches import Batch, rebatch, split_size
from kcompress.data.fitting import InputBinding, bind, bindings_for
from kcompress.data.source import InputShapes, Source
from kcompress.errors import DataError, UsageError

COUNTED = 256
"""The batch size with which samples are counted."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A re-iterable stream of batches; `resolve` makes one.

    Attributes:
        source: where the samples come from.
        cuts: the splits taken of it, one after the other: True is the test split (every fifth sample), False the
            training split (the others).
        bindings: which array goes to which input of the model, set by `fit_to`; empty before.
    """

    source: Source
    cuts: tuple[bool, ...] = ()
    bindings: tuple[InputBinding, ...] = ()

    @property
    def name(self) -> str:
        """How messages call it, such as `data.npz`."""
        return self.source.name

    @property
    def samples(self) -> int | None:
        """The number of samples, or None if only reading all would tell."""
        samples = self.source.samples
        for test in self.cuts:
            samples = None if samples is None else split_size(samples, test)
        return samples

    def counted(self) -> int:
        """The number of samples; all of them are read if it is not known otherwise."""
        return self.samples if self.samples is not None else sum(batch.samples for batch in self.batches(COUNTED))

    @property
    def labelled(self) -> bool:
        """Whether batches have a y."""
        return self.source.labelled

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes whose indices y holds, if the source names them."""
        return self.source.classes

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Return an iterator from the first sample on; every call starts over, in the same order.

        Args:
            size: samples per batch, at least 1; the last batch may have fewer.
            limit: samples in all, at most; None for all there are.

        Raises:
            UsageError: a size below 1 or a limit below 0.
            DataError: (while iterating) the source cannot be read, or holds what it did not announce.
        """
        if size < 1:
            raise UsageError(f"{self.name}: a batch size of {size} is not at least 1; give a positive number")
        if limit is not None and limit < 0:
            raise UsageError(f"{self.name}: a limit of {limit} samples is negative; give a positive number or none")
        chunk = size if limit is None else max(1, min(size, limit))
        return rebatch(self._bound(self.source.stream(chunk, self.cuts)), size, limit)

    def inputs(self, size: int, fixed: int | None = None, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Return the inputs of a fitted data set by name, batch by batch, without labels.

        `fixed` is the batch size of a model that has one: the last batch is then filled up by repeating its samples.
        """
        for batch in self.batches(fixed or size, limit):
            assert isinstance(batch.x, dict)
            full = fixed is None or batch.samples == fixed
            yield batch.x if full else {name: np.resize(x, (fixed, *x.shape[1:])) for name, x in batch.x.items()}

    def _bound(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        for batch in stream:
            yield Batch(bind(batch.x, self.bindings), batch.y) if self.bindings else batch

    def fingerprint(self) -> str:
        """Return a hex string that identifies the samples, before `fit_to`, for a cache key.

        A file gives the hash of its bytes, a folder that of its files' relative names, sizes and times, arrays and
        iterables that of all their values.
        """
        content = self.source.fingerprint()
        return hashlib.sha256(f"{content}{self.cuts}".encode()).hexdigest() if self.cuts else content

    def fit_to(self, inputs: InputShapes) -> "Dataset":
        """Return the data set whose x are dicts of the model's input names, in its order.

        Images are decoded to the input's height, width and channels. A table's columns go to the inputs named like
        them, or else all feature columns to the only input, as (samples, columns) float32. A tuple of arrays goes by
        position, a dict by name. A missing last axis of 1 is added.

        Args:
            inputs: the model's inputs in order, name to shape with the batch axis in front.

        Raises:
            DataError: the data cannot be what the model takes.
        """
        source = self.source.fitted(inputs)
        return replace(self, source=source, bindings=bindings_for(self.name, source.spec, inputs))

    def train_test_split(self) -> tuple["Dataset", "Dataset"]:
        """Return the training split (four samples in five) and the test split (the samples with index % 5 == 4).

        Raises:
            DataError: fewer than five samples, or an iterable that shuffles, whose splits would mix.
        """
        if self.samples is not None and split_size(self.samples, test=True) == 0:
            raise DataError(
                f"{self.name}: {self.samples} samples are too few to set every fifth apart as test data; "
                "give at least 5, or test data of its own"
            )
        if self.source.shuffles():
            raise DataError(
                f"{self.name}: its order changes each time, so no test data can be set apart from it; "
                "give test data of its own, or do not shuffle"
            )
        return replace(self, cuts=(*self.cuts, False)), replace(self, cuts=(*self.cuts, True))

    def overlaps(self, other: "Dataset") -> bool:
        """Return whether both have samples in common: they have the same source, and their splits are not disjoint."""
        mine, theirs = self.source.origin, other.source.origin
        same = len(mine) == len(theirs) and all(
            one is two or (isinstance(one, str) and one == two) for one, two in zip(mine, theirs, strict=True)
        )
        return same and all(one == two for one, two in zip(self.cuts, other.cuts, strict=False))


@dataclass(frozen=True)
class Splits:
    """The data of one run; a split that is not given is None. No test sample is in the other two."""

    training: Dataset | None
    calibration: Dataset | None
    test: Dataset | None

    def fit_to(self, inputs: InputShapes) -> "Splits":
        """Each of them for a model with these inputs; see `Dataset.fit_to`."""
        fitted = (None if d is None else d.fit_to(inputs) for d in (self.training, self.calibration, self.test))
        return Splits(*fitted)

    def sample(self) -> dict[str, np.ndarray] | None:
        """The inputs of one sample, for timing, once data sets are fitted to a model; None without data."""
        for data in (self.test, self.calibration, self.training):
            for x in data.inputs(1, limit=1) if data is not None else ():
                return x
        return None


@dataclass(frozen=True)
class Parts:
    """The data sets of one SPEC or object: all samples if it has no splits, else its splits."""

    unsplit: Dataset | None = None
    training: Dataset | None = None
    calibration: Dataset | None = None
    test: Dataset | None = None
