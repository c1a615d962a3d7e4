"""Arrays in memory, and `.npy` files, which the operating system maps into memory page by page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kcompress.data.batches import Batch, Key, digest, pack
from kcompress.data.source import Leaf, Source, check_numeric, common_length, hash_file, reason, title
from kcompress.errors import DataError


def is_array(value: object) -> bool:
    """Return whether this is an array of some library: NumPy, JAX, TensorFlow, torch, pandas."""
    return hasattr(value, "shape") and hasattr(value, "__array__") and not isinstance(value, type)


def to_array(value: object, name: str, label: str) -> np.ndarray:
    """Return an array-like as a NumPy array of numbers, with one row per sample; a NumPy array is returned as it is.

    Raises:
        DataError: not an array, ragged, not numbers, or empty.
    """
    if hasattr(value, "detach"):  # a torch tensor that needs a gradient, or lives on another device
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: {label} is {type(value).__name__}, which is no array ({reason(error)}); give a NumPy array"
        ) from error
    check_numeric(name, label, array.dtype, array.shape)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def to_leaves(value: object, name: str, label: str) -> dict[Key, np.ndarray]:
    """Return an array, a dict of arrays or a tuple or list of arrays as NumPy arrays by key.

    Raises:
        DataError: as `to_array`.
    """
    if isinstance(value, Mapping) and value:
        return {str(key): to_array(item, name, title(label, str(key))) for key, item in value.items()}
    if isinstance(value, tuple | list) and value and all(is_array(item) and item.shape for item in value):
        return {index: to_array(item, name, title(label, index)) for index, item in enumerate(value)}
    return {None: to_array(value, name, label)}


class ArraySource(Source):
    """Arrays in memory; batches are views of them."""

    def __init__(
        self,
        name: str,
        x: dict[Key, np.ndarray],
        y: dict[Key, np.ndarray],
        labels: Sequence[str],
        origin: tuple[object, ...],
    ) -> None:
        """Take x and y (empty: no labels), what messages call each of them, and what they come from.

        Raises:
            DataError: arrays of different lengths.
        """
        self.name = name
        self.samples = common_length(name, zip(labels, map(len, [*x.values(), *y.values()]), strict=True))
        self.labelled = bool(y)
        self.spec = {key: Leaf(label, x[key].shape[1:]) for key, label in zip(x, labels, strict=False)}
        self.origin = origin
        self._all = Batch(pack(x), pack(y) if y else None)

    def read(self, size: int) -> Iterator[Batch]:
        """Yield views of `size` samples."""
        for start in range(0, self._all.samples, size):
            yield self._all.take(slice(start, start + size))

    def fingerprint(self) -> str:
        """Return a hash of all values."""
        return digest(self.read(1024), self.name)


class NpySource(ArraySource):
    """A `.npy` file: samples without labels."""

    def __init__(self, path: Path, name: str) -> None:
        """Map the file.

        Raises:
            DataError: not a complete `.npy` file of numbers.
        """
        try:
            array = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # of NumPy, and of Python's parser, to which NumPy gives the header
            raise DataError(f"{name}: not a readable .npy file ({reason(error)}); write it with numpy.save") from error
        x = to_array(np.asarray(array), name, "x")
        super().__init__(name, {None: x}, {}, ["x"], (str(path.resolve()),))
        self._path = path

    def fingerprint(self) -> str:
        """Return a hash of the file's bytes."""
        return hash_file(self._path)
