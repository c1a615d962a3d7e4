"""How far a layer's output is from the original's where only that layer is changed, on calibration data.

SQNR = 10 log10(Σ y² / Σ (y − ŷ)²) in decibels. y and ŷ are the outputs of the layer before and after the change, both
for the input that it gets in the original model. So the figures of layers do not depend on each other.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kcompress.model.call_hooks import recurrent_cells
from kcompress.model.observe import run, to_arrays
from kcompress.model.view import Node, nodes


def sqnr_db(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise); None where there is no noise.

    >>> sqnr_db(100.0, 1.0), sqnr_db(1.0, 0.0)
    (20.0, None)
    """
    if not noise:
        return None
    return 10 * math.log10(max(signal, np.finfo(np.float64).tiny) / noise)


def output_sqnr_db(
    model: Any, changed: Any, batches: Iterable[Mapping[str, Any]], names: Iterable[str]
) -> dict[str, float | None]:
    """SQNR of the outputs of layers, by qualified name; None where the outputs are the same.

    A cell has the figure of the recurrent layer around it. A layer has no figure if its outputs are all zero or too
    large to be squared, or if its calls cannot be seen. `changed` is a model with the same layers as `model`; `batches`
    map input names to arrays.
    """
    before, after = ({node.name: node for node in nodes(each)} for each in (model, changed))
    hidden = recurrent_cells(before.values())
    owners = {}
    for name in names:
        owner = name
        while id(before[owner].layer) in hidden:  # a cell, or a part of one
            owner = owner.rpartition("/")[0]
        owners[name] = owner
    signal, noise = dict.fromkeys(owners.values(), 0.0), dict.fromkeys(owners.values(), 0.0)

    def seen(node: Node, given: Mapping[str, Any], result: Any) -> None:
        again = after[node.name].layer.call(**{name: value for name, value in given.items() if name})
        for ours, theirs in zip(_flat(result), _flat(again), strict=True):
            change = ours - theirs
            signal[node.name] += float(np.vdot(ours, ours))
            noise[node.name] += float(np.vdot(change, change))

    run(model, batches, [before[name] for name in signal], seen)
    known = {owner for owner in signal if signal[owner] and math.isfinite(signal[owner] + noise[owner])}
    return {name: sqnr_db(signal[owner], noise[owner]) for name, owner in owners.items() if owner in known}


def _flat(structure: Any) -> list[Any]:
    import keras

    flat = keras.tree.flatten(to_arrays(structure))
    return [np.asarray(item, np.float32) for item in flat if item is not None]
