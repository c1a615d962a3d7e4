"""Copies of a model, unchanged or with other layers, weights or sizes, and a fingerprint to compare two models by."""

import codecs
import hashlib
import inspect
import json
import marshal
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import UnsupportedError
from kcompress.keras_internals import compile_settings, layers_as_listed, layers_of, own_variables
from kcompress.model import keras_quantization as quantized
from kcompress.model.flow import graph_of
from kcompress.model.view import nodes, own_name


def copy(model: Any) -> Any:
    """A new model with the same architecture, names, weights and compile state; optimizer state is left behind.

    Custom layers, functions and losses need not be registered with Keras: they are taken from the model itself. So
    nothing in its config is refused here, not even a lambda; that is for the code that reads files.
    """
    import keras

    rebuilt = _checked(model, _build(model, keras.saving.serialize_keras_object(model)))
    for source, target in pairs(model, rebuilt):
        target.assign(source.value)
    return rebuilt


def pairs(model: Any, rebuilt: Any) -> Iterator[tuple[Any, Any]]:
    """Each variable with that of a copy, by name, since a copy of a quantized layer may have them in another order."""
    for source, target in zip(layers_of(model), layers_of(rebuilt), strict=True):
        named: dict[str, list[Any]] = {}
        for variable in _own(target):
            named.setdefault(own_name(variable), []).append(variable)
        for variable in _own(source):
            yield variable, named[own_name(variable)].pop(0)


def variables(model: Any) -> list[Any]:
    """Every variable of a model once, layer by layer, each layer's own."""
    return list({id(v): v for layer in layers_of(model) for v in _own(layer)}.values())


def _own(layer: Any) -> list[Any]:
    return [*chain(*own_variables(layer))]


def edited(model: Any, layers: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> Any:
    """A copy with some layers replaced and some weights set; both by qualified name, as `view.nodes` gives them.

    `layers` holds new layers that are not built yet. Each gets the name, the dtype policy and the calls of the layer
    that it replaces, without arguments that it does not accept. A layer whose input shape changes must be replaced too.
    Layers inside wrappers and subclassed models can't be replaced. `weights` have the shapes of the new layers. A
    weight that is not in `weights` is copied if the old layer had one of its name and shape; otherwise it is as the new
    layer initialized it.

    Raises KeyError for a name that the model does not have.
    """
    import keras

    sources = nodes(model)
    named = {node.name: node.layer for node in sources}
    places = {id(named[name]): layer for name, layer in layers.items()}
    config = deepcopy(keras.saving.serialize_keras_object(model))
    if layers:
        found = _replace(model, config, places)
        if found != places.keys():
            raise KeyError(next(name for name in layers if id(named[name]) not in found))
    rebuilt = _build(model, config)
    assign(zip(_own(model), _own(rebuilt), strict=True))
    values = {node.qualified(w): w.values for node in sources for w in node.weights}
    targets = {node.qualified(w): w.variable for node in nodes(rebuilt) for w in node.weights}
    for name in weights:
        if name not in targets:
            raise KeyError(name)
    for name, variable in targets.items():
        if name in weights:
            assign([(variable, weights[name])])
        elif name in values and values[name].shape == tuple(variable.shape):
            variable.assign(values[name])
    return rebuilt


def resized(model: Any, settings: Mapping[int, Mapping[Any, Any]]) -> Any:
    """A new model with other sizes and newly initialized weights; names and compile state are the same.

    `settings` maps the id of a layer or operation to new entries of its config, such as `filters`. The key
    `("args", 1)` stands for the second argument of its call.
    """
    import keras

    config = deepcopy(keras.saving.serialize_keras_object(model))
    for operation, entry in _entries(model, config):
        for key, value in settings.get(id(operation), {}).items():
            if isinstance(key, tuple):
                node, (part, position) = entry["inbound_nodes"][0], key
                node[part] = [*node[part]]
                node[part][position] = keras.saving.serialize_keras_object(value)
            else:
                entry["config"][key] = value
        for holder in (entry, entry["config"]):
            for key in ("build_config", "build_input_shape"):  # of the sizes before
                holder.pop(key, None)
        for key, value in entry["config"].items():
            if key.endswith("_initializer") and _has_array(value):  # of a size before, too
                entry["config"][key] = keras.saving.serialize_keras_object(keras.initializers.Zeros())
    return _checked(model, _build(model, config))


def _checked(model: Any, rebuilt: Any) -> Any:
    """The rebuilt model; UnsupportedError unless it has as many variables as the model."""
    if len(variables(rebuilt)) != len(variables(model)):
        raise UnsupportedError(
            f"'{model.name}' has weights that Keras does not keep in a copy or a file, such as LoRA weights inside an "
            "attention layer; merge them first"
        )
    return rebuilt


def _has_array(item: Any) -> bool:
    """Whether a config holds an array."""
    if isinstance(item, dict):
        return item.get("class_name") in ("__numpy__", "__tensor__") or any(map(_has_array, item.values()))
    return isinstance(item, list)


def _replace(model: Any, config: dict[str, Any], places: Mapping[int, Any]) -> set[int]:
    """Put new layers into a model's config in place of the old ones; gives the ids of the old ones that were found."""
    import keras

    found: set[int] = set()
    for layer, entry in _entries(model, config, wrapped=False):
        if id(layer) not in places:
            continue
        new = keras.saving.serialize_keras_object(places[id(layer)])
        new["config"]["name"] = layer.name
        entry.update(new)
        entry.pop("build_config", None)  # the shapes that the old layer was built for
        taken = inspect.signature(places[id(layer)].call).parameters
        for node in entry.get("inbound_nodes", ()):
            node["kwargs"] = {name: value for name, value in node["kwargs"].items() if name in taken}
        found.add(id(layer))
    return found


INNER = {"layer": ("forward_layer", "layer"), "backward_layer": ("backward_layer",), "cell": ("cell",)}
"""Where a wrapper's config holds layers, and under which attributes the wrapper does."""


def _entries(model: Any, config: dict[str, Any], wrapped: bool = True) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each layer and operation of a model, through nested models and wrappers, with its own part of the config."""
    import keras

    yield model, config
    if isinstance(model, keras.Model) and graph_of(model) is not None:
        entries = config["config"]["layers"]
        if isinstance(model, keras.Sequential):
            own = layers_as_listed(model)
        else:
            by_name = {operation.name: operation for operation in model.operations}
            own = [by_name[entry["name"]] for entry in entries]
        for operation, entry in zip(own, entries, strict=True):
            yield from _entries(operation, entry, wrapped)
    if not wrapped:
        return
    for key, attributes in INNER.items():
        inner = next((getattr(model, name) for name in attributes if hasattr(model, name)), None)
        entry = config["config"].get(key)
        if isinstance(entry, dict) and "config" in entry and inner is not None:
            yield from _entries(inner, entry)
    if isinstance(cells := config["config"].get("cells"), list) and hasattr(model, "cells"):
        for cell, entry in zip(model.cells, cells, strict=True):
            yield from _entries(cell, entry)


def _build(model: Any, config: dict[str, Any]) -> Any:
    """A model from the config of another, with its names and dtype policies, which a config may lack."""
    import keras

    custom = dict(_custom_objects(model))
    rebuilt = keras.saving.deserialize_keras_object(config, custom_objects=custom, safe_mode=False)
    sources, targets = layers_of(model), layers_of(rebuilt)
    if len(sources) != len(targets):
        raise UnsupportedError(
            f"'{model.name}' holds a layer in several places, as in a wrapper and on its own, which Keras does not "
            "keep in a copy or a file; call that wrapper everywhere, or give each place a layer of its own"
        )
    for source, target in zip(sources, targets, strict=True):
        if target.name != source.name:  # a layer's config does not always hold its own name, or those of its parts
            target.name = source.name
        if target.dtype_policy.name != source.dtype_policy.name:  # nor a Sequential's its policy
            target.dtype_policy = source.dtype_policy
        quantized.copy_state(source, target)
    return rebuilt


def _custom_objects(model: Any) -> Iterator[tuple[str, Any]]:
    """Name to class or function of everything in the model's layers and compile state that is not Keras's own."""
    import keras

    layers = layers_of(model)
    compiled = keras.tree.flatten(compile_settings(model) or [])
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

    A `shared_object_id` is a memory address; it becomes the order of its appearance. A lambda's code is marshalled
    without flags that tell which of its parts something else refers to.
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
