"""HDF5 model files: those of Keras 3, of Keras 2, and of TensorFlow Model Optimization's wrappers.

Stock Keras 3 is tried first. What it rejects is read by Keras 2 (`tf_keras`), stripped of wrappers, and built again
with Keras 3's layers; see `keras2`.
"""

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompress.backend import installed
from kcompress.errors import KCompressError, MissingExtraError, ModelError, UnsafeError, one_line
from kcompress.formats.allowed import keras2, keras3, tfmot
from kcompress.formats.base import Description, Format, Runner, reading
from kcompress.formats.file_sizes import taken_bytes
from kcompress.formats.gate import ForeignError, check_document, is_own, parsed
from kcompress.formats.h5.keras2 import read_keras2
from kcompress.formats.h5.tfmot import is_wrapped
from kcompress.formats.hdf5_process import look_through
from kcompress.formats.keras.description import describe_model
from kcompress.formats.keras.runner import KerasRunner
from kcompress.formats.safety import OutlineError, check_hdf5, check_size, implied_bytes
from kcompress.formats.trusted import Trusted, trusting

BOMB_FACTOR = 20  # Keras never compresses its HDF5 files
BOMB_BYTES = 64_000_000


class H5(Format):
    suffixes = (".h5", ".hdf5")
    reads = True

    def read(self, path: Path, trust: Sequence[str] = ()) -> Any:
        content = opened(path, trust)
        if not content.wrapped:
            try:
                return content.read_keras3()
            except KCompressError as error:
                if not isinstance(error, ForeignError) or content.newer or not installed("tf_keras"):
                    raise
            except Exception as error:  # Keras 3 fails on a file of Keras 2 with an error of any kind
                if content.newer:
                    raise ModelError(f"{path}: cannot be loaded ({one_line(error)}); save it again") from error
                if not installed("tf_keras"):
                    raise MissingExtraError("tensorflow", f"reading {path.name}, a Keras 2 file,") from error
        elif not installed("tensorflow_model_optimization"):
            raise MissingExtraError("tensorflow", f"reading {path.name}, a TensorFlow Model Optimization file,")
        return content.read_keras2()

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        return KerasRunner(self.read(path, trust))

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        import h5py

        model = runner.model if isinstance(runner, KerasRunner) else self.read(path, trust)
        with h5py.File(path, "r") as file:
            stored = check_hdf5(path, file.get("model_weights", file))
        return describe_model(self.name, model, stored)


@dataclass(frozen=True)
class Content:
    """What a file holds, of which nothing is built yet."""

    path: Path
    trust: Sequence[str]
    config: dict[str, Any]
    training: Any
    """The compile state; None without one."""
    expanded_bytes: int
    newer: bool
    """Whether Keras 3 wrote it."""

    @property
    def wrapped(self) -> bool:
        return is_wrapped(self.config)

    def read_keras3(self) -> Any:
        """The model, by Keras 3. UnsafeError before anything is built; on a file of Keras 2, an error of any kind."""
        import keras

        trusted, allowed = Trusted.of(self.trust), keras3(legacy=True)
        check_document(self.path, self.config, allowed, trusted)
        compiled = self.training is not None and is_own(self.path, self.training, allowed)
        with contextlib.suppress(OutlineError):  # a Keras 2 config; Keras 2 will say whether the weights fit it
            implied = implied_bytes(self.path, self.config, self.trust)
            check_size(self.path, self.expanded_bytes, implied)
        with trusting(self.trust), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about compile and optimizer state, which is not needed
            if compiled:
                with contextlib.suppress(Exception):  # Keras does not read each compile state that it writes to HDF5
                    return keras.saving.load_model(self.path, safe_mode=trusted.safe_mode)
            return keras.saving.load_model(self.path, compile=False, safe_mode=trusted.safe_mode)

    def read_keras2(self) -> Any:
        """The model, by Keras 2 and built again by Keras 3. UnsafeError before anything is built."""
        allowed = keras2() | tfmot() if self.wrapped else keras2()
        check_document(self.path, self.config, allowed, Trusted())
        if self.training is not None:
            is_own(self.path, self.training, allowed)
        return read_keras2(self.path, self.wrapped)


def opened(path: Path, trust: Sequence[str]) -> Content:
    """Look into the file without building anything.

    Raises ModelError for a file that is damaged or holds weights only, UnsafeError for one that reaches outside itself,
    or expands beyond what its size accounts for.
    """
    import h5py

    look_through(path)
    with reading(path, "save the model again"), h5py.File(path, "r") as file:
        config, training = (_document(path, file, name) for name in ("model_config", "training_config"))
        expanded, written_by = check_hdf5(path, file), file.attrs.get("keras_version")
    if config is None:
        raise ModelError(f"{path}: holds weights only; give the whole model, saved by model.save")
    if not isinstance(config, dict):
        raise ModelError(f"{path}: model_config holds no model; save it again")
    size, taken = path.stat().st_size, taken_bytes(path)
    if max(expanded, size) > BOMB_BYTES and (expanded > BOMB_FACTOR * taken or size > BOMB_FACTOR * expanded):
        raise UnsafeError(
            f"{path}: has {size:,} bytes, which take {taken:,} on the disk and expand to {expanded:,}; this looks like "
            "a decompression bomb, get the file again"
        )
    newer = isinstance(written_by, str) and written_by.partition(".")[0] not in ("", "0", "1", "2")
    return Content(path, trust, config, training, expanded, newer)


def _document(path: Path, file: Any, name: str) -> Any:
    """A JSON document among the attributes of an HDF5 file; None where there is none."""
    raw = file.attrs.get(name)
    if raw is None:
        return None
    if not isinstance(raw, (str, bytes)):
        raise ModelError(f"{path}: {name} is no text; save the model again")
    return parsed(path, raw, name)
