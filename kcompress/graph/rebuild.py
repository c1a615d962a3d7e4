"""Copies of a model, and a fingerprint that tells whether two models are the same function."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np


def copy(model: Any) -> Any:
    """A new model with the same architecture, names, weights and compile state; optimizer state is left behind."""
    import keras

    config = keras.saving.serialize_keras_object(model)
    custom = {type(layer).__name__: type(layer) for layer in model._flatten_layers() if not _known(layer)}
    twin = keras.saving.deserialize_keras_object(config, custom_objects=custom)
    for source, target in zip(model.weights, twin.weights, strict=True):
        target.assign(source.value)
    return twin


def _known(layer: Any) -> bool:
    return type(layer).__module__.split(".")[0] in ("keras", "kcompress")


def fingerprint(model: Any) -> str:
    """Hex digest over the architecture and every weight's bytes."""
    import keras

    digest = hashlib.blake2b(digest_size=16)
    config = renumber_shared(keras.saving.serialize_keras_object(model))
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for variable in model.weights:
        digest.update(np.ascontiguousarray(np.asarray(variable)).tobytes())
    return digest.hexdigest()


def renumber_shared(config: Any) -> Any:
    """The same config with `shared_object_id`, a memory address, replaced by its order of appearance."""
    numbers: dict[int, int] = {}

    def walk(item: Any) -> Any:
        if isinstance(item, dict):
            return {
                key: numbers.setdefault(value, len(numbers)) if key == "shared_object_id" else walk(value)
                for key, value in item.items()
            }
        if isinstance(item, (list, tuple)):
            return type(item)(walk(value) for value in item)
        return item

    return walk(config)


def assign(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Give each variable its new values, cast to the variable's dtype."""
    for variable, values in pairs:
        variable.assign(np.asarray(values, dtype=variable.dtype))
