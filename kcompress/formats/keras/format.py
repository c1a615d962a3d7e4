"""The `.keras` archive of Keras 3: a zip of config.json, metadata.json and model.weights.h5.

Stock Keras opens it whichever zip method its members use, and casts a weight from whichever float type it is stored
in. So a weight that float16 holds exactly is stored as float16, HDF5's groups are written in their compact form
(the default takes about 1 kB a layer), and the members are compressed by what measures best.
"""

import json
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kcompress.errors import KCompressError, ModelError, UnsafeError, one_line
from kcompress.formats.allowed import keras3
from kcompress.formats.base import Description, Format, Runner, WriteOptions, Written, reading
from kcompress.formats.gate import MOST_BYTES, check_document, is_own, parsed, too_large
from kcompress.formats.hdf5_process import harmless, look_through, seekable
from kcompress.formats.keras.archive import STORED, best_method, write_zip
from kcompress.formats.keras.description import describe_model
from kcompress.formats.keras.hdf5 import digest, repack
from kcompress.formats.keras.runner import KerasRunner
from kcompress.formats.safety import check_hdf5, check_size, implied_bytes
from kcompress.formats.trusted import Trusted, trusting
from kcompress.keras_internals import layers_of
from kcompress.leftovers import temporary_folder
from kcompress.model import keras_quantization as quantized
from kcompress.model.rebuild import renumber_shared
from kcompress.model.view import nodes
from kcompress.numerics import affine
from kcompress.quantization.plan import QuantPlan

WEIGHTS = "model.weights.h5"
MOST_MEMBERS = 10_000


class Keras(Format):
    suffixes = (".keras",)
    activations = frozenset({("static", 8), ("static", 16), ("dynamic", 8)})
    scale_digits = affine.SHORT  # weights are kept as floats, which compress well then
    reads = writes = True

    def read(self, path: Path, trust: Sequence[str] = ()) -> Any:
        compiled = check(path, trust)
        try:
            with trusting(trust):
                return load(path, compile=compiled, safe_mode=Trusted.of(trust).safe_mode)
        except KCompressError:
            raise
        except Exception as error:  # of any layer's constructor
            raise ModelError(f"{path}: cannot be loaded ({one_line(error)}); save it again with Keras 3") from error

    def write(self, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
        import keras

        with temporary_folder() as folder:
            raw, weights = folder / "raw.weights.h5", folder / WEIGHTS
            with quantized.saving_zero_points(model):
                model.save_weights(raw)
            repack(raw, weights, _layouts(model, plan))
            document = renumber_shared(keras.saving.serialize_keras_object(model))
            config = json.dumps(document, separators=(",", ":")).encode()
            metadata = json.dumps({"keras_version": keras.__version__, "date_saved": "1980-01-01@00:00:00"}).encode()
            members: dict[str, bytes | Path] = {
                "metadata.json": metadata,
                "config.json": config,
                WEIGHTS: weights,
                **_assets(model, folder),
            }
            methods = {WEIGHTS: STORED}
            if options.compression != "none":
                deflate_only = options.compression == "deflate"
                methods = {name: best_method(content, deflate_only) for name, content in members.items()}
            write_zip(path, members, methods)
        harmless(path)
        floats = ("activations are floats: Keras computes in float, on weights that lie on their grids",)
        return Written(notes=floats if plan.activations is not None else ())

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        return KerasRunner(self.read(path, trust))

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        model = runner.model if isinstance(runner, KerasRunner) else self.read(path, trust)
        with zipfile.ZipFile(path) as archive:
            stored = archive.getinfo(WEIGHTS).compress_size
        return describe_model(self.name, model, stored)


def check(path: Path, trust: Sequence[str]) -> bool:
    """Look into an archive without building anything; return whether its compile state is Keras's own.

    Raises ModelError for a file that is damaged or no Keras archive, UnsafeError for one that would run code, reach
    outside itself, or expand beyond what its config accounts for.
    """
    import h5py

    with reading(path, "save the model again, as a .keras archive"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) > MOST_MEMBERS:
            raise ModelError(f"{path}: {len(names):,} members, at most {MOST_MEMBERS:,} are read; get the file again")
        outside = next((n for n in names if n.startswith(("/", "\\")) or ".." in Path(n).parts), None)
        if outside:
            raise UnsafeError(f"{path}: member '{outside}' points outside the archive; get the file again")
        missing = [name for name in ("config.json", WEIGHTS) if name not in names]
        if missing:
            raise ModelError(f"{path}: no {missing[0]} in the archive; give a model saved whole by Keras 3")
        config, metadata = (_document(path, archive, name) for name in ("config.json", "metadata.json"))
        if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
            raise ModelError(f"{path}: config.json holds no model; save it again with Keras 3")
        trusted, allowed = Trusted.of(trust), keras3()
        compiled = config.pop("compile_config", None)
        check_document(path, [config, metadata], allowed, trusted)
        own = is_own(path, compiled, allowed)
        implied = implied_bytes(path, config, trust)
        check_size(path, sum(info.file_size for info in archive.infolist()), implied)
        look_through(path, WEIGHTS)
        with seekable(archive, WEIGHTS) as member, h5py.File(member, "r") as file:
            check_size(path, check_hdf5(path, file), implied)
    return own


def _document(path: Path, archive: zipfile.ZipFile, name: str) -> Any:
    """A JSON member of an archive; None where there is no such member."""
    if name not in archive.namelist():
        return None
    size = archive.getinfo(name).file_size
    if size > MOST_BYTES:
        raise too_large(path, name, size)
    return parsed(path, archive.read(name), name)


def load(path: Path, **options: Any) -> Any:
    """Keras's own load_model, without its warnings, such as that optimizer state, which is not needed, does not fit.

    Where Keras warns that weights are missing, and leaves them at random values, this is an error.
    """
    import keras

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", "Skipping nested container", UserWarning)
        return keras.saving.load_model(path, **options)


def _layouts(model: Any, plan: QuantPlan) -> dict[str, tuple[int, ...]]:
    """The channels of each planned weight, by its content."""
    return {
        digest(weight.values): plan.weights[name].axes
        for node in nodes(model)
        for weight in node.weights
        if (name := node.qualified(weight)) in plan.weights
    }


def _assets(model: Any, folder: Path) -> dict[str, bytes]:
    """Files that layers keep beside their weights, such as vocabularies, as Keras itself saves them."""
    if not any(hasattr(layer, "save_assets") for layer in layers_of(model)):
        return {}
    full = folder / "full.keras"
    model.save(full)
    with zipfile.ZipFile(full) as archive:
        return {n: archive.read(n) for n in archive.namelist() if n.startswith("assets/") and not n.endswith("/")}
