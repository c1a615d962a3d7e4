"""Whether two models have the same architecture: the same layers, in the same order, with the same settings and shapes.

Names may differ, for Keras counts layers as they are made.
"""

from itertools import zip_longest
from typing import Any

from kcompress.errors import ModelError
from kcompress.model.flow import flow
from kcompress.model.view import Node, nodes

IGNORED = ("name", "trainable", "dtype", "seed", "batch_input_shape", "batch_shape")
"""Settings that do not change what a layer computes from its weights."""


def check_same(name: str, model: Any, path: str, other: Any) -> None:
    """ModelError, naming the first layer that differs and how, unless a model's weights fit those of another.

    `name` is that of the pass, `path` of the other model's file.
    """
    for mine, theirs in zip_longest(nodes(model), nodes(other)):
        difference = _difference(mine, theirs)
        if difference:
            raise ModelError(f"{name}: {path} is of another architecture: {difference}; give models of the same kind")
    for own, others in zip(flow(model).calls, flow(other).calls, strict=False):
        if (own.kind, own.inputs, own.outputs) != (others.kind, others.inputs, others.outputs):
            raise ModelError(
                f"{name}: {path} is of another architecture: '{own.label}' does not come behind the same layers there "
                "as in the model; give models of the same kind"
            )


def _difference(mine: Node | None, theirs: Node | None) -> str | None:
    """What tells two layers apart; None for nothing."""
    if mine is None or theirs is None:
        found = mine or theirs
        assert found is not None
        return f"'{found.name}' ({type(found.layer).__name__}) is only in {'the model' if mine else 'that one'}"
    kinds = type(mine.layer).__name__, type(theirs.layer).__name__
    if kinds[0] != kinds[1]:
        return f"'{mine.name}' is a {kinds[0]}, '{theirs.name}' there a {kinds[1]}"
    for own, others in zip_longest(mine.weights, theirs.weights):
        shapes = [None if weight is None else tuple(weight.variable.shape) for weight in (own, others)]
        if shapes[0] != shapes[1]:
            weight = own or others
            named = f"'{mine.name}/{weight.name}'"
            return f"{named} is {shapes[0] or 'not there'} in the model and {shapes[1] or 'not there'} in that one"
    settings = [_settings(node.layer) for node in (mine, theirs)]
    for key in settings[0].keys() | settings[1].keys() if settings[0] != settings[1] else ():
        values = [each.get(key) for each in settings]
        if values[0] != values[1]:
            return f"'{mine.name}' has {key}={values[0]} in the model and {values[1]} in that one"
    return None


def _settings(layer: Any) -> dict[str, Any]:
    """The settings of a layer that are plain values, such as strides; layers inside it have their own."""
    config = layer.get_config()
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in config.items()
        if key not in IGNORED and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, (int, float, bool)) for item in value)
    return value is None or isinstance(value, (str, int, float, bool))
