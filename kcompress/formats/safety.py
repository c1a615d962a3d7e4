"""Refuse a model file that would run code of its own, before anything is built from it.

A Keras config names classes. Those in the parts of Keras that hold layers, models and their settings are built;
everything else, and the few Keras classes that carry or fetch code, is refused unless the caller trusts its module.
"""

import importlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kcompress.errors import ModelError, UnsafeError, UsageError, one_line
from kcompress.keras_internals import variables_without_values
from kcompress.process_state import importing_from

PARTS = (
    *("activations", "applications", "constraints", "dtype_policies", "engine", "initializers", "layers", "legacy"),
    *("losses", "metrics", "mixed_precision", "models", "ops", "optimizers", "quantizers", "random", "regularizers"),
)
CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFOpLambda", "SlicingOpLambda"}
LAMBDA = "keras.layers.Lambda"
SLACK_BYTES = 32_000_000  # HDF5's own structures take about 1 kB a variable; below this nothing is worth refusing
STATE_FACTOR = 8  # float64 weights, or float32 weights with three optimizer slots


def trusted_objects(trust: Sequence[str]) -> dict[str, Any]:
    """Import the trusted modules; their classes and functions by name. UsageError if one cannot be imported."""
    objects: dict[str, Any] = {}
    for name in trust:
        if name == LAMBDA:
            continue
        try:
            with importing_from(Path.cwd()):
                module = importlib.import_module(name)
        except ImportError as error:
            raise UsageError(f"--trust {name}: cannot be imported ({error}); give a module on the path") from error
        objects.update({key: item for key, item in vars(module).items() if callable(item) and not key.startswith("_")})
    return objects


@contextmanager
def trusting(trust: Sequence[str]) -> Iterator[None]:
    """Let Keras build the classes of the trusted modules, and no others."""
    import keras

    with keras.saving.CustomObjectScope(trusted_objects(trust)):
        yield


def check_config(path: Path, config: Any, trust: Sequence[str] = ()) -> None:
    """Raise UnsafeError, naming the layer, if a class in a model's config is not Keras's own or carries code."""
    trusted = set(trusted_objects(trust))
    for entry in _entries(config):
        label = f"'{_layer_name(entry)}' ({entry['class_name']})"
        problem = _problem(entry, trust, trusted)
        if problem:
            raise UnsafeError(f"{path}: {label} {problem}")


def _entries(item: Any) -> Iterator[dict[str, Any]]:
    stack = [item]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if isinstance(item.get("class_name"), str):
                yield item
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)


def _layer_name(entry: dict[str, Any]) -> str:
    config = entry.get("config")
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else config)
    return str(name)[:80] if isinstance(name, str) else str(entry["class_name"])


def _problem(entry: dict[str, Any], trust: Sequence[str], trusted: set[str]) -> str | None:
    kind, module = entry["class_name"], entry.get("module")
    config = entry.get("config")
    if kind in ("__lambda__", "Lambda"):
        function = config.get("function") if isinstance(config, dict) else None
        named = isinstance(function, dict) and function.get("class_name") == "function" and str(function.get("config"))
        if LAMBDA in trust or (kind == "Lambda" and named in trusted):
            return None
        return f"runs code from the file; replace it by keras.ops calls, or pass --trust {LAMBDA} if the file is yours"
    if kind in CODE:
        return "runs code that is not in the file; replace it by Keras layers"
    if kind.startswith("__"):
        return None
    if isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        return "reads a vocabulary from another file; save the model with the vocabulary in it"
    if kind == "function":
        kind, module = config if isinstance(config, str) else "", module or "builtins"
    if kind in trusted or (isinstance(module, str) and any(module == t or module.startswith(f"{t}.") for t in trust)):
        return None
    origin = str(module or entry.get("registered_name") or "a custom class")
    if (module in (None, "builtins") and not _is_foreign(entry)) or _in_keras(module):
        return None
    hint = origin.split(">")[0] if module is None else origin
    return f"comes from '{hint}', which is not part of Keras; pass --trust MODULE with the module that defines it"


def _in_keras(module: Any) -> bool:
    parts = str(module).split(".")
    if parts[0] not in ("keras", "tf_keras"):
        return False
    inner = parts[2:] if parts[1:2] in (["src"], ["api"]) else parts[1:]
    return not inner or inner[0] in PARTS


def _is_foreign(entry: dict[str, Any]) -> bool:
    """Whether an entry without a module (legacy files, built-in functions) names nothing that Keras itself has."""
    import keras

    registered = entry.get("registered_name")
    if isinstance(registered, str) and ">" in registered:
        return True
    name = entry["config"] if entry["class_name"] == "function" else entry["class_name"]
    if name in ("Functional", "Model", "Sequential"):
        return False
    spaces = [getattr(keras, part, None) for part in PARTS]
    return not any(hasattr(space, str(name)) for space in (keras, *spaces) if space is not None)


class OutlineError(ModelError):
    """Keras 3 cannot build a model from this config."""


def implied_bytes(path: Path, config: Any, trust: Sequence[str] = ()) -> int:
    """Bytes of float32 weights that a model's config accounts for; nothing is allocated to find out.

    Raises OutlineError if the config cannot be built, ModelError if its weights would not fit in this machine's memory.
    """
    import keras

    try:
        with trusting(trust), variables_without_values():
            outline = keras.saving.deserialize_keras_object(_uncompiled(config), safe_mode=LAMBDA not in trust)
        implied = sum(4 * math.prod(map(int, variable.shape)) for variable in outline.variables)
    except Exception as error:  # of any layer's constructor
        raise OutlineError(f"{path}: its config cannot be built ({one_line(error)}); save it with Keras 3") from error
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else sys.maxsize
    if implied > memory:
        raise ModelError(f"{path}: needs {implied:,} bytes for its weights; this machine has {memory:,}")
    return implied


def _uncompiled(item: Any) -> Any:
    """A copy of a config without the compile state of any model in it, whose optimizers would want variables."""
    if isinstance(item, dict):
        return {key: _uncompiled(value) for key, value in item.items() if key != "compile_config"}
    return [_uncompiled(value) for value in item] if isinstance(item, list) else item


def check_size(path: Path, expanded_bytes: int, implied: int) -> None:
    """Raise UnsafeError if a file expands to far more weights than its config accounts for."""
    if expanded_bytes > STATE_FACTOR * implied + SLACK_BYTES:
        raise UnsafeError(
            f"{path}: expands to {expanded_bytes:,} bytes of weights, but its config accounts for {implied:,}; "
            "this looks like a decompression bomb"
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
        else:
            for key in item:
                if isinstance(item.get(key, getlink=True), h5py.ExternalLink):
                    raise UnsafeError(f"{path}: '{name}/{key}' links to another file; re-save the model in one piece")

    visit("", file)
    file.visititems(visit)
    return total
