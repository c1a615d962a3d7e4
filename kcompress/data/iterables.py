"""Objects that can be iterated several times: `tf.data.Dataset`, `PyDataset`, a torch `DataLoader`, a list.

They yield batches: (x, y), [x, y], or x alone. The number of samples is not known before all of them were read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kcompress.data.arrays import is_array, to_leaves
from kcompress.data.batches import Batch, digest, leaves, pack
from kcompress.data.source import Leaf, Source, common_length, reason, title
from kcompress.errors import DataError, KCompressError


class IterableSource(Source):
    """The batches of a user's iterable, each checked against the first."""

    def __init__(self, start: Callable[[], Iterator[object]], name: str, origin: tuple[object, ...]) -> None:
        """Look at the first batch.

        Args:
            start: returns a new iterator from the first batch on.
            name: for messages.
            origin: what it comes from.

        Raises:
            DataError: it yields nothing, or no batches of numbers.
        """
        self.name = name
        self.samples = None
        self.origin = origin
        self._start = start
        first = self._first()
        self.labelled = first.y is not None
        self.spec = {key: Leaf(title("x", key), array.shape[1:]) for key, array in leaves(first.x).items()}
        self._shapes = _shapes(first)

    def _first(self) -> Batch:
        for item in self._items():
            return self._batch(item)
        raise DataError(f"{self.name}: it yields no batches; give at least one sample")

    def read(self, size: int) -> Iterator[Batch]:
        """Yield its own batches, whatever their size."""
        for number, item in enumerate(self._items()):
            batch = self._batch(item)
            self._check(batch, number)
            yield batch

    def _items(self) -> Iterator[object]:
        try:
            yield from self._start()
        except KCompressError:
            raise
        except Exception as error:  # whatever the user's code raises
            raise DataError(
                f"{self.name}: reading it failed with {type(error).__name__} ({reason(error)}); "
                "correct the code behind it"
            ) from error

    def _batch(self, item: object) -> Batch:
        x, y = _pair(item, self.name)
        xs = to_leaves(x, self.name, "x")
        ys = {} if y is None else to_leaves(y, self.name, "y")
        lengths = [(title("x", key), len(array)) for key, array in xs.items()]
        common_length(self.name, lengths + [(title("y", key), len(array)) for key, array in ys.items()])
        return Batch(pack(xs), pack(ys) if ys else None)

    def _check(self, batch: Batch, number: int) -> None:
        if (batch.y is not None) != self.labelled:
            raise DataError(f"{self.name}: some batches have labels and others none; give (x, y) each time, or x")
        shapes = _shapes(batch)
        if shapes != self._shapes:
            raise DataError(
                f"{self.name}: batch {number} has samples of shape {_listed(shapes)}, the first batch of "
                f"{_listed(self._shapes)}; give all samples one shape, and two arrays as a tuple (x, y)"
            )

    def fingerprint(self) -> str:
        """Return a hash of all values, in one pass over all of them."""
        return digest(self.read(1), self.name)

    def shuffles(self) -> bool:
        """Return whether two iterations start with different batches."""
        return digest([self._first()], self.name) != digest([self._first()], self.name)


def open_iterable(value: Iterable[object], name: str, origin: tuple[object, ...]) -> IterableSource:
    """Return the source of a re-iterable object.

    Raises:
        DataError: it can be consumed only once, it never ends, or it yields no batches of numbers.
    """
    if isinstance(value, Iterator):
        raise DataError(
            f"{name}: a {type(value).__name__} can be read only once; give the function that makes it, or a list"
        )
    if _is_endless(value):
        raise DataError(f"{name}: this {type(value).__name__} never ends; give one that does, without repeat()")
    return IterableSource(lambda: iter(value), name, origin)


def _is_endless(value: Any) -> bool:
    """Return whether a `tf.data.Dataset` repeats for ever, or a `PyDataset` has no number of batches."""
    if hasattr(value, "element_spec") and hasattr(value, "cardinality"):
        return int(value.cardinality()) == -1  # tf.data.INFINITE_CARDINALITY
    try:
        return hasattr(value, "num_batches") and value.num_batches is None
    except NotImplementedError:  # a PyDataset that gives no length
        return True


def _pair(item: object, name: str) -> tuple[object, object]:
    """Return x and y (or None) of what an iterable yielded."""
    if isinstance(item, tuple | list) and item:
        if len(item) > 2:
            raise DataError(f"{name}: it yields {len(item)} values at a time; give batches (x, y) or x alone")
        return item[0], item[1] if len(item) == 2 else None
    if isinstance(item, Mapping) or is_array(item):
        return item, None
    raise DataError(f"{name}: it yields {type(item).__name__}; give batches of arrays, (x, y) or x alone")


def _shapes(batch: Batch) -> dict[str, tuple[int, ...]]:
    """Return one sample's shape for each array."""
    x = {title("x", key): array.shape[1:] for key, array in leaves(batch.x).items()}
    y = {} if batch.y is None else {title("y", key): array.shape[1:] for key, array in leaves(batch.y).items()}
    return x | y


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{label} {shape}" for label, shape in shapes.items())
