"""How much a model file holds, against what its config accounts for; and links out of it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kcompress.errors import ModelError, UnsafeError, one_line
from kcompress.formats.file_sizes import file_bytes
from kcompress.formats.trusted import Trusted, trusting
from kcompress.keras_internals import variables_without_values
from kcompress.memory import memory_bytes

SLACK_BYTES = 32_000_000  # HDF5's own structures take about 1 kB a variable; below this nothing is worth refusing
STATE_FACTOR = 8  # float64 weights, or float32 weights with three optimizer slots


class OutlineError(ModelError):
    """Keras 3 cannot build a model from this config."""


def implied_bytes(path: Path, config: Any, trust: Sequence[str] = ()) -> int:
    """Bytes of float32 weights that a model's config accounts for; nothing is allocated to find out.

    Raises OutlineError if the config cannot be built, ModelError if its weights would not fit in this machine's memory.
    """
    import keras

    try:
        with trusting(trust), variables_without_values():
            outline = keras.saving.deserialize_keras_object(_uncompiled(config), safe_mode=Trusted.of(trust).safe_mode)
        implied = sum(4 * math.prod(map(int, variable.shape)) for variable in outline.variables)
    except Exception as error:  # of any layer's constructor
        raise OutlineError(f"{path}: its config cannot be built ({one_line(error)}); save it with Keras 3") from error
    if implied > memory_bytes():
        raise ModelError(f"{path}: needs {implied:,} bytes for its weights; this machine has {memory_bytes():,}")
    return implied


def _uncompiled(item: Any) -> Any:
    """A copy of a config without the compile state of any model in it, whose optimizers would want variables."""
    if isinstance(item, dict):
        return {key: _uncompiled(value) for key, value in item.items() if key != "compile_config"}
    return [_uncompiled(value) for value in item] if isinstance(item, list) else item


def check_size(path: Path, expanded_bytes: int, implied: int) -> None:
    """Raise UnsafeError if a file is, or expands to, far more than the weights that its config accounts for."""
    for size, verb in ((file_bytes(path), "has"), (expanded_bytes, "expands to")):
        if size > STATE_FACTOR * implied + SLACK_BYTES:
            raise UnsafeError(
                f"{path}: {verb} {size:,} bytes, but its config accounts for {implied:,}; this looks like a "
                "decompression bomb, get the file again"
            )


def check_hdf5(path: Path, file: Any) -> int:
    """Refuse links out of an HDF5 file; return the bytes that its data sets expand to."""
    import h5py

    total = 0

    def visit(name: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise UnsafeError(f"{path}: data set '{name}' lies in another file; re-save the model in one piece")
            total += int(item.nbytes)
        elif isinstance(item, h5py.Group):  # and no named type
            for key in item:
                if isinstance(item.get(key, getlink=True), h5py.ExternalLink):
                    raise UnsafeError(f"{path}: '{name}/{key}' links to another file; re-save the model in one piece")

    visit("", file)
    file.visititems(visit)
    return total
