"""Model files that try to do more than be a model, made by code."""

import base64
import copy
import json
import marshal
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.models import keras

CANARY = "canary.txt"
"""What code from a file would write."""


def attack(*_: Any) -> Any:
    """What the bytecode in the files is made of."""
    open("canary.txt", "w").close()  # noqa: PTH123
    return _[0]


def bytecode() -> str:
    return base64.b64encode(marshal.dumps(attack.__code__)).decode()


LAMBDA = {"class_name": "__lambda__", "config": {"code": bytecode(), "defaults": None, "closure": None}}


@cache
def base() -> bytes:
    """A `.keras` file of a compiled model with a dense layer in the end."""
    import tempfile

    k = keras()
    model = k.Sequential([k.Input((4,), name="x"), k.layers.Dense(3, "relu", name="d"), k.layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.keras")
        model.save(path)
        return path.read_bytes()


def members() -> dict[str, bytes]:
    import io

    with zipfile.ZipFile(io.BytesIO(base())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(path: Path, contents: dict[str, bytes], **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names that come twice
        with zipfile.ZipFile(path, "w", **options) as written:
            for name, content in contents.items():
                written.writestr(name, content)
    return path


def edited(path: Path, change: Callable[[dict[str, Any]], Any], member: str = "config.json") -> Path:
    """The model with its config, or another document in it, changed."""
    contents = members()
    document = json.loads(contents[member])
    document = change(document) or document
    return archive(path, {**contents, member: json.dumps(document).encode()})


def layers(config: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = config["config"]["layers"]
    return found


def with_layer(layer: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """A change that puts a layer before the last."""
    return lambda config: layers(config).insert(-1, copy.deepcopy(layer))


def with_setting(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change that gives the dense layer a setting."""
    return lambda config: layers(config)[1]["config"].update({name: copy.deepcopy(value)})


def entry(module: str | None, name: str, registered: str | None = None, /, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def function(module: str | None, name: str, registered: str | None = None) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered or name}


KERAS2 = {"keras_version": "2.15.0", "backend": "tensorflow"}


def h5(path: Path, config: Any, training: Any = None, **attributes: Any) -> Path:
    """An `.h5` file with this config, whole or as it is to be stored, and no weights."""
    with h5py.File(path, "w") as file:
        for name, value in {"model_config": config, "training_config": training, **KERAS2, **attributes}.items():
            if value is not None:
                file.attrs[name] = json.dumps(value) if isinstance(value, (dict, list)) else value
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([], "S1")
    return path


def sequential(*given: dict[str, Any]) -> dict[str, Any]:
    """A config of Keras 2."""
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "x"}}
    return {"class_name": "Sequential", "config": {"name": "m", "layers": [first, *map(copy.deepcopy, given)]}}


def dense(**config: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": "d", "units": 2, "activation": "linear", **config}}


def lambda_of_keras2(**more: Any) -> dict[str, Any]:
    code = {"function": [bytecode(), None, None], "function_type": "lambda", "module": "__main__", "arguments": {}}
    return {"class_name": "Lambda", "config": {"name": "evil", "output_shape_type": "raw", **code, **more}}
