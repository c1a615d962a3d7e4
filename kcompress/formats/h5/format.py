"""HDF5 model files: those of Keras 3, of Keras 2, and of TensorFlow Model Optimization's wrappers.

Stock Keras 3 is tried first. What it rejects is read by Keras 2 (`tf_keras`), stripped of wrappers, and built again
with Keras 3's layers; see `keras2`.
"""

import contextlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kcompress.backend import installed
from kcompress.errors import KCompressError, MissingExtraError, ModelError, UnsafeError, one_line
from kcompress.formats.base import Description, Format, Runner
from kcompress.formats.h5.keras2 import read_keras2
from kcompress.formats.h5.tfmot import is_wrapped, without_wrappers
from kcompress.formats.keras.description import describe_model
from kcompress.formats.keras.runner import KerasRunner
from kcompress.formats.safety import LAMBDA, OutlineError, check_config, check_hdf5, check_size, implied_bytes, trusting

BOMB_FACTOR = 20  # Keras never compresses its HDF5 files
BOMB_BYTES = 64_000_000


class H5(Format):
    suffixes = (".h5", ".hdf5")
    reads = True

    def read(self, path: Path, trust: Sequence[str] = ()) -> Any:
        config, compiled = check(path, trust)
        wrapped = is_wrapped(config)
        if not wrapped:
            try:
                return _load(path, compiled, trust)
            except KCompressError:
                raise
            except Exception as error:  # Keras 3 fails on a file of Keras 2 with an error of any kind
                if not installed("tf_keras"):
                    raise MissingExtraError("tensorflow", f"reading {path.name}, a Keras 2 file,") from error
        elif not installed("tensorflow_model_optimization"):
            raise MissingExtraError("tensorflow", f"reading {path.name}, a TensorFlow Model Optimization file,")
        return read_keras2(path, wrapped)

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        return KerasRunner(self.read(path, trust))

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        import h5py

        model = runner.model if isinstance(runner, KerasRunner) else self.read(path, trust)
        with h5py.File(path, "r") as file:
            stored = check_hdf5(path, file.get("model_weights", file))
        return describe_model(self.name, model, stored)


def check(path: Path, trust: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Look into the file without building anything; return its config, and whether its compile state is Keras's own.

    Raises ModelError for a file that is damaged or holds weights only, UnsafeError for one that would run code, reach
    outside itself, or expand beyond what its size accounts for.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            raw, training = file.attrs.get("model_config"), file.attrs.get("training_config")
            expanded = check_hdf5(path, file)
        if raw is None:
            raise ModelError(f"{path}: holds weights only; give the whole model, saved by model.save")
        config = json.loads(raw)
    except KCompressError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path}: damaged or no HDF5 file ({one_line(error)}); save the model again") from error
    if expanded > BOMB_BYTES and expanded > BOMB_FACTOR * path.stat().st_size:
        raise UnsafeError(
            f"{path}: expands from {path.stat().st_size:,} to {expanded:,} bytes; this looks like a decompression bomb"
        )
    check_config(path, without_wrappers(config), trust)
    with contextlib.suppress(OutlineError):  # a Keras 2 config; Keras 2 will say whether the weights fit it
        check_size(path, expanded, implied_bytes(path, config, trust))
    return config, _compiles(path, training)


def _compiles(path: Path, training: Any) -> bool:
    if training is None:
        return False
    try:
        check_config(path, json.loads(training))
    except (UnsafeError, ValueError):
        return False
    return True


def _load(path: Path, compiled: bool, trust: Sequence[str]) -> Any:
    import keras

    with trusting(trust), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about compile and optimizer state, which is not needed
        return keras.saving.load_model(path, compile=compiled, safe_mode=LAMBDA not in trust)
