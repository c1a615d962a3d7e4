"""The weights that one pass, run once over all layers, would give each layer or set of coupled layers alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompress.errors import UnsupportedError
from kcompress.model.view import nodes
from kcompress.passes.base import Context, Pass
from kcompress.passes.capabilities import ChangesCoupledLayers, Layers, NewValues


@dataclass(frozen=True)
class Changes:
    """New values of variables for each layer or set of coupled layers, and why other layers stay as they are."""

    new_values: Mapping[Layers, NewValues]
    skipped: Mapping[str, str]


def changes(model: Any, pass_: Pass, ctx: Context) -> Changes:
    """Run a pass and separate its changes by layer; the model is not modified.

    Channels that the pass removes are zeroed where they are read, which gives the same outputs in the same shapes.
    Raises UnsupportedError for a pass that changes more than weights.
    """
    if isinstance(pass_, ChangesCoupledLayers):
        apart, left = pass_.apart(model, ctx)
        return Changes(apart, {skip.layer: skip.reason for skip in left})
    result = pass_.apply(model, ctx)
    after = {node.qualified(w): w.values for node in nodes(result.model) for w in node.weights}
    before = {node.name: [(w.variable, node.qualified(w)) for w in node.weights] for node in nodes(model)}
    new_values: dict[Layers, NewValues] = {}
    for change in result.changes:
        own = []
        for variable, name in before.get(change.layer, ()):
            if name not in after or after[name].shape != tuple(variable.shape):
                raise UnsupportedError(f"{pass_.name}: changes {change.layer} in more than weights; give another pass")
            if not np.array_equal(after[name], np.asarray(variable)):
                own.append((variable, after[name]))
        new_values[(change.layer,)] = own
    return Changes(new_values, {skip.layer: skip.reason for skip in result.skipped})
