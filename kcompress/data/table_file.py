"""The columns of a csv or parquet file, read with PyArrow, one record batch at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kcompress.data.source import reason
from kcompress.errors import DataError, MissingExtraError

Kind = Literal["integer", "float", "text", "other"]
"""What a column holds: numbers (booleans are text as a label, 0 and 1 as a feature), texts or anything else."""


class TableFile:
    """A csv file (comma-separated, names in the first row) or a parquet file.

    Attributes:
        columns: what each column holds; that of a csv file is found in its first megabyte.
        booleans: the columns of booleans, which are also in `columns`, as text.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Read the names and types of the columns.

        Raises:
            DataError: not a csv or parquet file, or two columns of the same name.
            MissingExtraError: PyArrow is not installed.
        """
        try:
            import pyarrow
        except ImportError as error:
            raise MissingExtraError("data", "reading csv and parquet") from error
        self._path, self._name = path, name
        self._csv = path.suffix.lower() == ".csv"
        with self._reading():
            schema = self._schema()
        double = {column for column in schema.names if schema.names.count(column) > 1}
        if double:
            raise DataError(f"{name}: column {min(double)!r} is there twice; rename one")
        self.booleans = {field.name for field in schema if pyarrow.types.is_boolean(field.type)}
        self.columns: dict[str, Kind] = {field.name: _kind(field.type) for field in schema}

    def _schema(self) -> Any:
        if self._csv:
            import pyarrow.csv

            with pyarrow.csv.open_csv(self._path) as reader:
                return reader.schema
        import pyarrow.parquet

        return pyarrow.parquet.read_schema(self._path)

    def read(self, numbers: list[str], texts: list[str], size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield the columns, batch by batch: numbers as float64 (missing: NaN), texts as str objects (missing: None).

        Raises:
            DataError: a value that is not of its column's kind, or a damaged file.
        """
        import pyarrow

        types = {column: pyarrow.float64() for column in numbers} | {column: pyarrow.string() for column in texts}
        with self._reading():
            batches = self._record_batches(types, size)
        while True:
            with self._reading():
                batch = next(batches, None)
                if batch is None:
                    return
                arrays = {name: batch.column(name).cast(kind, safe=False) for name, kind in types.items()}
            if batch.num_rows:
                yield {name: array.to_numpy(zero_copy_only=False) for name, array in arrays.items()}

    def _record_batches(self, types: dict[str, Any], size: int) -> Iterator[Any]:
        if self._csv:
            import pyarrow.csv

            stored = {
                column: pyarrow.bool_() if column in self.booleans and kind == pyarrow.float64() else kind
                for column, kind in types.items()
            }
            options = pyarrow.csv.ConvertOptions(column_types=stored, include_columns=list(types))
            with pyarrow.csv.open_csv(self._path, convert_options=options) as reader:
                yield from reader
        else:
            import pyarrow.parquet

            with pyarrow.parquet.ParquetFile(self._path, pre_buffer=False) as file:
                yield from file.iter_batches(batch_size=size, columns=list(types))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        import pyarrow

        try:
            yield
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{self._name}: it cannot be read as a table ({reason(error)}); correct the file"
            ) from error


def _kind(arrow_type: Any) -> Kind:
    from pyarrow import types

    if types.is_integer(arrow_type):
        return "integer"
    if types.is_floating(arrow_type) or types.is_decimal(arrow_type) or types.is_null(arrow_type):
        return "float"
    if types.is_dictionary(arrow_type):
        return _kind(arrow_type.value_type)
    if types.is_boolean(arrow_type) or types.is_string(arrow_type) or types.is_large_string(arrow_type):
        return "text"
    return "other"
