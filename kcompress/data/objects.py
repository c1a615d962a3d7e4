"""Python objects as data: arrays, pairs, dicts, iterables, functions, data sets; and SPEC strings, through `specs`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np

from kcompress.data.arrays import ArraySource, is_array, to_array, to_leaves
from kcompress.data.batches import Key
from kcompress.data.dataset import Dataset, Parts, Splits
from kcompress.data.iterables import IterableSource, open_iterable
from kcompress.data.keys import are_keys, keys_by_split
from kcompress.data.source import reason, title
from kcompress.data.specs import is_function, load_function, open_file
from kcompress.errors import DataError, KCompressError

_ALLOWED = (
    "an array, (x, y), ((x_train, y_train), (x_test, y_test)), a dict of arrays, a tf.data.Dataset, a PyDataset, "
    "an iterable of batches, a function that returns one of these, or the name of a file or folder"
)


def open_data(value: object, name: str) -> Parts:
    """Return the data sets of a SPEC string, a path or a Python object.

    Args:
        value: anything that `resolve` takes.
        name: how messages call it if it is no file, such as `calibration`.

    Raises:
        DataError: it is none of those, or cannot be read.
        UsageError: a string that is no SPEC.
    """
    if isinstance(value, Splits):
        return Parts(training=value.training, calibration=value.calibration, test=value.test)
    if isinstance(value, Dataset):
        return Parts(unsplit=value)
    if isinstance(value, str | Path):
        spec = str(value)
        return _call(load_function(spec), spec, (spec,)) if is_function(spec) else open_file(spec)
    return _open_object(value, name, ())


def _open_object(value: object, name: str, origin: tuple[object, ...]) -> Parts:
    """Open anything but strings; `origin` identifies its samples. If it is empty, the arrays of `value` do."""
    if is_array(value):
        return Parts(unsplit=_pair((value, None), name, ("x", "y"), origin))
    if isinstance(value, Mapping):
        return _open_dict(value, name, origin)
    if isinstance(value, tuple):
        return _open_tuple(value, name, origin)
    if isinstance(value, Iterable):
        return Parts(unsplit=Dataset(open_iterable(value, name, origin or (value,))))
    if callable(value):
        return _call(value, name, origin or (value,))
    raise DataError(f"{name}: {type(value).__name__} is not a kind of data; give {_ALLOWED}")


def _call(function: Callable[[], object], name: str, origin: tuple[object, ...]) -> Parts:
    """Open what the function returns; it is called again for each reading of an iterator."""
    try:
        value = function()
    except KCompressError:
        raise
    except Exception as error:  # whatever the user's function raises
        raise DataError(
            f"{name}: calling it failed with {type(error).__name__} ({reason(error)}); "
            "give a function that needs no arguments"
        ) from error
    if isinstance(value, Iterator):
        return Parts(unsplit=Dataset(IterableSource(cast(Callable[[], Iterator[object]], function), name, origin)))
    if isinstance(value, Splits | Dataset | str | Path):
        return open_data(value, name)
    return _open_object(value, name, origin)


def _open_tuple(value: tuple[object, ...], name: str, origin: tuple[object, ...]) -> Parts:
    if len(value) != 2:
        raise DataError(f"{name}: a tuple of {len(value)}; give (x, y) or ((x_train, y_train), (x_test, y_test))")
    training, test = value
    if _is_pair(training) and _is_pair(test):
        return Parts(
            training=_pair(training, name, ("x_train", "y_train"), _part(origin, "train")),
            test=_pair(test, name, ("x_test", "y_test"), _part(origin, "test")),
        )
    return Parts(unsplit=_pair(value, name, ("x", "y"), origin))


def _is_pair(value: object) -> TypeGuard[tuple[object, object]]:
    """Return whether this is x and y, rather than an array or a list of numbers."""
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(is_array(item) or isinstance(item, Mapping | tuple) for item in value)
    )


def _pair(pair: tuple[object, object], name: str, roles: tuple[str, str], origin: tuple[object, ...]) -> Dataset:
    x = to_leaves(pair[0], name, roles[0])
    y = {} if pair[1] is None else to_leaves(pair[1], name, roles[1])
    labels = [title(roles[0], key) for key in x] + [title(roles[1], key) for key in y]
    return Dataset(ArraySource(name, x, y, labels, origin or _given(pair[0])))


def _open_dict(value: Mapping[Any, object], name: str, origin: tuple[object, ...]) -> Parts:
    """Open arrays under the keys of an npz file. If a key is none of these, all keys are input names."""
    given = {str(key): item for key, item in value.items()}
    if not given:
        raise DataError(f"{name}: an empty dict; give {_ALLOWED}")
    arrays = {key: to_array(item, name, key) for key, item in given.items()}
    if not are_keys(arrays):
        x: dict[Key, np.ndarray] = dict(arrays.items())
        return Parts(unsplit=Dataset(ArraySource(name, x, {}, list(arrays), origin or _given(given))))
    parts: dict[str, Dataset] = {}
    for split, group in keys_by_split(arrays, name).items():
        x = {key: arrays[label] for key, label in group.x.items()}
        y = {key: arrays[label] for key, label in group.y.items()}
        labels = [*group.x.values(), *group.y.values()]
        from_ = _part(origin, split) or tuple(given[label] for label in group.x.values())
        parts[split] = Dataset(ArraySource(name, x, y, labels, from_))
    return Parts(unsplit=parts.get(""), training=parts.get("train"), test=parts.get("test"))


def _part(origin: tuple[object, ...], split: str) -> tuple[object, ...]:
    return (*origin, split) if origin else ()


def _given(x: object) -> tuple[object, ...]:
    """Return the arrays of x, which identify the samples: data sets that share the arrays have the same samples."""
    if isinstance(x, Mapping):
        return tuple(x.values())
    return tuple(x) if isinstance(x, tuple) else (x,)
