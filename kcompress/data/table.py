"""Tables: one row per sample, one column of labels, the other columns features."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kcompress.data.batches import Batch
from kcompress.data.dataset import Dataset, Parts
from kcompress.data.fitting import nearest
from kcompress.data.source import InputShapes, Leaf, Source, hash_file
from kcompress.data.table_file import TableFile
from kcompress.errors import DataError

LABELS = ("label", "target", "class", "y")
"""The names by which a column of labels is found if the user does not name it."""

_ROWS = 65536  # per batch, where one column is read alone


@dataclass(frozen=True)
class _Target:
    """The label column: its name, the dtype of y, and the classes if it holds texts."""

    column: str
    dtype: type[np.generic]
    classes: tuple[str, ...] | None
    rows: int


class TableSource(Source):
    """A csv or parquet file.

    x is (samples, features) float32: all columns but the label, in the order of the file. After `fitted` to inputs that
    are named like columns, x is a dict of (samples,) float64, which is exact for integers up to 2^53. y is (samples,):
    int64 for integers; int64 for texts, as indices into the sorted distinct texts; float32 for other numbers.
    """

    def __init__(self, path: Path, name: str, label: str | None) -> None:
        """Read the column names and all labels; `label` names the label column, else it is the only one in LABELS.

        Raises:
            DataError: no such column, or a label is missing.
        """
        self.name = name
        self._path = path
        self._file = TableFile(path, name)
        column = _label_column(name, list(self._file.columns), label)
        self._target = _scan(self._file, name, column)
        self.classes = self._target.classes
        self.samples = self._target.rows
        self.labelled = True
        self.origin = (str(path.resolve()),)
        self._features = [other for other in self._file.columns if other != column]
        self._inputs: dict[str, str] = {}
        if not self._features:
            raise DataError(f"{name}: {column!r} is its only column; give comma-separated columns of features as well")
        self.spec = {None: Leaf(f"x ({len(self._features)} feature columns)", (len(self._features),))}

    def fitted(self, inputs: InputShapes) -> "TableSource":
        """Return the source that gives columns to the inputs of their names, or all feature columns to the only input.

        In the first case, the other columns are left out.

        Raises:
            DataError: a column that is used does not hold numbers, or one of several inputs has no column.
        """
        source = copy.copy(self)
        missing = [name for name in inputs if name not in self._features]
        if len(inputs) > 1 and missing:
            raise DataError(
                f"{self.name}: no column for the model's input {missing[0]!r} among {', '.join(self._features)}"
                f"{nearest(missing[0], self._features)}; name the columns like the inputs"
            )
        by_name = not missing and (len(inputs) > 1 or next(iter(inputs.values()))[1:] in ((), (1,)))
        source._inputs = {name: name for name in inputs} if by_name else {}
        if by_name:
            source.spec = {name: Leaf(f"column {name!r}", ()) for name in inputs}
        else:
            source.spec = {None: Leaf(f"x ({len(self._features)} feature columns)", (len(self._features),))}
        source._check_numbers()
        return source

    def _check_numbers(self) -> list[str]:
        """Return the columns to read, all of which hold numbers."""
        columns = list(self._inputs) or self._features
        kinds, booleans = self._file.columns, self._file.booleans
        wrong = [column for column in columns if kinds[column] in ("text", "other") and column not in booleans]
        if wrong:
            raise DataError(
                f"{self.name}: these columns hold no numbers: {', '.join(map(repr, wrong))}; "
                "encode them as numbers or leave them out of the file"
            )
        return columns

    def with_classes(self, classes: tuple[str, ...]) -> "TableSource":
        """Return the same rows with y as indices into these classes."""
        source = copy.copy(self)
        source.classes = classes
        return source

    def read(self, size: int) -> Iterator[Batch]:
        """Yield a batch for each record batch of the file."""
        columns, label = self._check_numbers(), self._target.column
        index = {text: position for position, text in enumerate(self.classes or ())}
        numbers, texts = ([*columns, label], []) if self.classes is None else (columns, [label])
        for batch in self._file.read(numbers, texts, size):
            try:
                labels = batch[label] if self.classes is None else [index[text] for text in batch[label]]
            except KeyError as error:
                raise DataError(
                    f"{self.name}: label {error} is new; do not change the file while it is read"
                ) from error
            yield Batch(self._samples(batch, columns), np.asarray(labels, self._target.dtype))

    def _samples(self, batch: dict[str, np.ndarray], columns: list[str]) -> np.ndarray | dict[str, np.ndarray]:
        if self._inputs:
            return {column: batch[column] for column in columns}
        return np.stack([batch[column].astype(np.float32) for column in columns], axis=1)

    def fingerprint(self) -> str:
        """Return a hash of the file's bytes, of which column is the label, and of the classes."""
        return hash_file(self._path, self._target.column, self.classes)


def open_table(path: Path, name: str, label: str | None) -> Parts:
    """Return the data set of a csv or parquet file; tables have no splits.

    Raises:
        DataError: as `TableSource`.
    """
    return Parts(unsplit=Dataset(TableSource(path, name, label)))


def _label_column(name: str, columns: list[str], label: str | None) -> str:
    listed = ", ".join(columns)
    if label is not None:
        if label not in columns:
            raise DataError(f"{name}: no column {label!r}{nearest(label, columns)}; its columns are {listed}; name one")
        return label
    found = [column for column in LABELS if column in columns]
    if not found:
        raise DataError(
            f"{name}: no column is called {', '.join(LABELS)}; its columns are {listed}; "
            f"name the label's, as in {name}:{columns[-1]}"
        )
    if len(found) > 1:
        raise DataError(
            f"{name}: columns {' and '.join(found)} could each be the label; name one, as in {name}:{found[0]}"
        )
    return found[0]


def _scan(file: TableFile, name: str, column: str) -> _Target:
    """Read all labels once, to count them and to find their dtype and classes."""
    if file.columns[column] == "other":
        raise DataError(f"{name}: label column {column!r} holds neither numbers nor texts; convert it to one of them")
    found = None if file.columns[column] == "text" else _scan_numbers(file, column)
    target, missing = found or _scan_texts(file, column)
    if missing:
        raise DataError(f"{name}: label column {column!r} is empty in {missing} rows; fill them in or leave them out")
    if not target.rows:
        raise DataError(f"{name}: it has no rows; give at least one sample")
    return target


def _scan_numbers(file: TableFile, column: str) -> tuple[_Target, int] | None:
    """Return the target and how many labels are missing, or None if some are texts after all."""
    rows = missing = 0
    integral = file.columns[column] == "integer"
    try:
        for batch in file.read([column], [], _ROWS):
            values = batch[column]
            rows += len(values)
            missing += int(np.isnan(values).sum())
            integral = integral and bool(np.all(values == np.floor(values)))
    except DataError:
        return None
    return _Target(column, np.int64 if integral else np.float32, None, rows), missing


def _scan_texts(file: TableFile, column: str) -> tuple[_Target, int]:
    rows = missing = 0
    classes: set[str] = set()
    for batch in file.read([], [column], _ROWS):
        values = batch[column].tolist()
        rows += len(values)
        missing += sum(not value for value in values)
        classes.update(value for value in values if value)
    return _Target(column, np.int64, tuple(sorted(classes)), rows), missing
