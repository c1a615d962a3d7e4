"""SPEC strings: what `--data`, `--calibration` and `--test` take.

    data.npz              x, y, or x_train, y_train, x_test, y_test (see `keys`)
    data.npy              samples without labels
    photos/               one folder of images per class, or such folders in train/ and test/
    data.csv[:LABEL]      a table with a column of labels; also data.parquet[:LABEL]
    module:function       a function of the user's; its module is imported with the current folder on the path

Tables need PyArrow, images Pillow; the extra `data` brings both.
"""

import importlib
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from kcompress.data.arrays import NpySource
from kcompress.data.dataset import Dataset, Parts
from kcompress.data.fitting import nearest
from kcompress.data.images import open_images
from kcompress.data.npz import open_npz
from kcompress.data.source import reason
from kcompress.data.table import open_table
from kcompress.errors import DataError, KCompressError, UsageError
from kcompress.files import check_file, kind_of
from kcompress.process_state import importing_from

_SUFFIXES = (".npz", ".npy", ".csv", ".parquet")
_ALLOWED = "FILE.npz, FILE.npy, FILE.csv[:LABEL], FILE.parquet[:LABEL], a folder of class folders, or MODULE:FUNCTION"

_TABLE = re.compile(r"(?P<path>.+\.(?:csv|parquet)):(?P<label>.*)", re.IGNORECASE | re.DOTALL)
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_function(spec: str) -> bool:
    """Return whether a SPEC is MODULE:FUNCTION."""
    return _FUNCTION.fullmatch(spec) is not None and not spec.lower().partition(":")[0].endswith(_SUFFIXES)


def path_of(spec: str) -> Path | None:
    """Return the file or folder that a SPEC names, whether it is there or not; None for a function."""
    table = _TABLE.fullmatch(spec)
    if table and not _exists(Path(spec)):
        return Path(table["path"])
    return None if is_function(spec) else Path(spec)


def open_file(spec: str) -> Parts:
    """Return the data sets of a SPEC that names a file or a folder.

    Raises:
        DataError: there is no such file, or it cannot be read as what its suffix says.
        UsageError: the string is no SPEC.
    """
    path, label = _locate(spec)
    if kind_of(path) == "a folder":
        return open_images(path, spec)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return open_npz(path, spec)
    if suffix == ".npy":
        return Parts(unsplit=Dataset(NpySource(path, spec)))
    return open_table(path, str(path), label)


def _locate(spec: str) -> tuple[Path, str | None]:
    """Return the path, a folder or a file of a known suffix, and the label column, if it is named."""
    path, label = Path(spec), None
    table = _TABLE.fullmatch(spec)
    if table and not _exists(path):
        path, label = Path(table["path"]), table["label"]
    exists = _exists(path)
    if not spec or label == "":
        raise UsageError(f"{spec!r} names no {'label' if spec else 'data'}; give {_ALLOWED}")
    known = path.suffix.lower() in _SUFFIXES
    if not exists and ":" in spec and not known:
        raise UsageError(f"{spec!r} names no data; only a table takes a label behind a colon; give {_ALLOWED}")
    if not exists:
        raise DataError(f"{path}: no such file; give an existing one: {_ALLOWED}")
    if kind_of(path) == "a folder":
        return path, label
    if not known:
        raise DataError(f"{spec}: files with suffix {path.suffix!r} cannot be read; give {_ALLOWED}")
    check_file(path, DataError, f"give {_ALLOWED}")
    return path, label


def _exists(path: Path) -> bool:
    return kind_of(path) is not None


def load_function(spec: str) -> Callable[[], object]:
    """Import the module of MODULE:FUNCTION, with the current folder on the path, and return the function.

    The folder is on the path when the function is called too, for it may import more.

    Raises:
        DataError: the module cannot be imported, or has no such function.
    """
    module_name, function_name = spec.split(":")
    folder = Path.cwd()
    try:
        with importing_from(folder):
            module = importlib.import_module(module_name)
    except KCompressError:
        raise
    except ModuleNotFoundError as error:
        raise DataError(
            f"{spec}: there is no module {error.name!r}; run where {module_name.partition('.')[0]}.py is, or install it"
        ) from error
    except Exception as error:  # whatever the user's module raises
        raise DataError(
            f"{spec}: importing {module_name} failed with {type(error).__name__} ({reason(error)}); correct the module"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        near = nearest(function_name, [name for name in vars(module) if not name.startswith("_")])
        raise DataError(f"{spec}: module {module_name} has no function {function_name!r}{near}; give one that it has")

    def called() -> object:
        with importing_from(folder):
            found = function()
        return _items(found, folder) if isinstance(found, Generator) else found

    return called


def _items(generator: Iterator[object], folder: Path) -> Iterator[object]:
    """The items of a generator, whose code runs only while the next item is requested."""
    while True:
        with importing_from(folder):
            try:
                item = next(generator)
            except StopIteration:
                return
        yield item
