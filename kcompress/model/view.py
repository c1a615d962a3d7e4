"""A Keras model as a flat list of layers with qualified names, through nested models, wrappers and cells.

A name is the path of layer names from the model down: `backbone/block1_conv1`, `encoder/attention/query`,
`bidirectional/forward_lstm/lstm_cell`. A layer that is used twice appears once, under the first path that leads to it;
so does a variable. If two have the same name, the second is called `name#2`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kcompress.keras_internals import layers_of, own_variables
from kcompress.model import keras_quantization as quantized
from kcompress.model.kernels import Axes, is_keras, kernel_axes

Role = Literal["kernel", "bias", "normalization", "other"]
NORMALIZATIONS = ("Normalization",)  # BatchNormalization, LayerNormalization, …: all of Keras's end so


@dataclass(frozen=True)
class Weight:
    """One variable of a layer: `name` is the variable's own, `axes` is set for kernels only.

    `learned` is false for what training by gradients does not change, such as a moving mean; freezing does not matter.
    """

    name: str
    variable: Any
    role: Role
    axes: Axes | None = None
    learned: bool = True

    @property
    def values(self) -> NDArray[Any]:
        """The current values as a NumPy array; read-only."""
        return np.asarray(self.variable)


@dataclass(frozen=True)
class Node:
    """A layer by qualified name, with the variables that it owns itself (not its sub-layers')."""

    name: str
    layer: Any
    weights: tuple[Weight, ...]

    @property
    def kernels(self) -> tuple[Weight, ...]:
        return tuple(w for w in self.weights if w.role == "kernel")

    @property
    def is_custom(self) -> bool:
        return not is_keras(self.layer)

    def qualified(self, weight: Weight) -> str:
        return f"{self.name}/{weight.name}"


def children(layer: Any) -> list[Any]:
    """The direct sub-layers: a model's layers in order, a wrapper's inner layer, a recurrent layer's cells."""
    import keras

    if isinstance(layer, keras.Model):
        return list(layer.layers)
    return layers_of(layer, itself=False, inner=False)


def nodes(model: Any) -> list[Node]:
    """Every layer below `model`, depth first in the model's order, containers before what they contain."""
    return list(_walk(model, "", set(), {}))


def _walk(parent: Any, prefix: str, seen: set[int], names: dict[str, int]) -> Iterator[Node]:
    """`seen` holds the layers and variables that are listed already, `names` how often each name was given."""
    for layer in children(parent):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        name = _unique(prefix + layer.name, names)
        below = {id(v) for child in children(layer) for v in child.weights}
        own = [v for v in layer.weights if id(v) not in below and id(v) not in seen]
        seen.update(map(id, own))
        yield Node(name, layer, tuple(_weights(layer, own)))
        yield from _walk(layer, f"{name}/", seen, names)


def _unique(name: str, names: dict[str, int]) -> str:
    names[name] = names.get(name, 0) + 1
    return name if names[name] == 1 else f"{name}#{names[name]}"


def _weights(layer: Any, variables: list[Any]) -> Iterator[Weight]:
    learned = {id(v) for v in own_variables(layer)[0]}
    names: dict[str, int] = {}
    for variable in variables:
        name = own_name(variable)
        axes = kernel_axes(layer, name)
        role: Role = "other"
        if axes is not None:
            role = "kernel"
        elif type(layer).__name__.endswith(NORMALIZATIONS) and id(variable) in learned:
            role = "normalization"
        elif name == "bias":
            role = "bias"
        yield Weight(_unique(name, names), variable, role, axes, id(variable) in learned)


def own_name(variable: Any) -> str:
    """A variable's name. A name that Keras makes up loses its number, which is another one in each copy."""
    return re.sub(r"^variable_\d+$", "variable", variable.name)


def matches(name: str, pattern: str) -> bool:
    """Whether a glob pattern fits a qualified name or a container above it; `*` also matches `/`.

    >>> matches("backbone/block1/conv", "block*"), matches("backbone/block1/conv", "backbone")
    (False, True)
    """
    parts = name.split("/")
    return any(fnmatchcase("/".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def parameters(model: Any) -> int:
    """Number of weights, trainable or not; a layer that Keras quantized has as many as before."""
    packed = [(layer, variable) for layer, variable in _owned(model) if quantized.mode(layer) is not None]
    stored = sum(int(np.prod(variable.shape)) for _, variable in packed)
    return int(model.count_params()) - stored + sum(quantized.nonzero_parameters(*pair).size for pair in packed)


def nonzero(model: Any) -> int:
    """Number of weights that are not zero."""
    return sum(int(quantized.nonzero_parameters(*pair).sum()) for pair in _owned(model))


def _owned(model: Any) -> Iterator[tuple[Any, Any]]:
    """Every weight with the layer that owns it, the model itself included."""
    seen: set[int] = set()
    for layer in layers_of(model):
        for variable in chain(*own_variables(layer)):
            if id(variable) not in seen:
                seen.add(id(variable))
                yield layer, variable
