"""Copies of a model, and a fingerprint that tells whether two models are the same function."""

import codecs
import hashlib
import inspect
import json
import marshal
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


def copy(model: Any) -> Any:
    """A new model with the same architecture, names, weights and compile state; optimizer state is left behind.

    Custom layers, functions and losses need not be registered with Keras: they are taken from the model itself, which
    is why nothing in its config, a lambda included, is refused here. Refusing is for whoever reads a file.
    """
    import keras

    config = keras.saving.serialize_keras_object(model)
    twin = keras.saving.deserialize_keras_object(config, custom_objects=dict(_custom_objects(model)), safe_mode=False)
    for source, target in zip(model._flatten_layers(), twin._flatten_layers(), strict=True):
        if target.name != source.name:  # a layer's config does not always hold its own name, or those of its parts
            target.name = source.name
        if target.dtype_policy.name != source.dtype_policy.name:  # nor a Sequential's its policy
            target.dtype_policy = source.dtype_policy
    for source, target in zip(model.weights, twin.weights, strict=True):
        target.assign(source.value)
    return twin


def _custom_objects(model: Any) -> Iterator[tuple[str, Any]]:
    """Name to class or function, for all that is not of Keras's own in the model's layers and compile state."""
    import keras

    layers = list(model._flatten_layers())
    compiled = keras.tree.flatten(model._compile_config.config) if getattr(model, "_compile_config", None) else []
    for item in (*layers, *compiled, *(value for layer in layers for value in vars(layer).values())):
        named = item if inspect.isfunction(item) else type(item)
        if (inspect.isfunction(item) or hasattr(item, "get_config")) and not _known(named):
            yield named.__name__, named


def _known(item: Any) -> bool:
    return str(item.__module__).split(".")[0] in ("keras", "kcompress")


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
    """The same config without what differs from process to process or copy to copy.

    `shared_object_id`, a memory address, becomes its order of appearance; a lambda's code is marshalled without the
    marks of which of its parts are referred to elsewhere.
    """
    numbers: dict[int, int] = {}

    def walk(item: Any) -> Any:
        if isinstance(item, dict):
            if item.get("class_name") == "__lambda__":
                return {**item, "config": {**item["config"], "code": _unmarked(item["config"]["code"])}}
            return {
                key: numbers.setdefault(value, len(numbers)) if key == "shared_object_id" else walk(value)
                for key, value in item.items()
            }
        if isinstance(item, (list, tuple)):
            return type(item)(walk(value) for value in item)
        return item

    return walk(config)


def _unmarked(code: str) -> str:
    """Code as Keras writes it, in version 2 of the marshal format, the last without references."""
    return codecs.encode(marshal.dumps(marshal.loads(codecs.decode(code.encode(), "base64")), 2), "base64").decode()


def assign(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Give each variable its new values, cast to the variable's dtype."""
    for variable, values in pairs:
        variable.assign(np.asarray(values, dtype=variable.dtype))
