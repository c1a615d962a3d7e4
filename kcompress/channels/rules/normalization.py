"""Normalization: of each channel by itself, of groups of channels, or over all of them, which then have to stay."""

import numpy as np

from kcompress.channels.rules.visit import Rule, Visit
from kcompress.channels.trace import Axes, Size


def batch(v: Visit) -> list[Axes]:
    """A parameter of each kind for each position along one axis, whatever lies along it."""
    given, layer = v.given[0], v.layer
    for variable in layer.variables:
        v.trace.weight(variable, (given.axes[layer.axis],))
    return [given.axes]


def over_channels(v: Visit) -> list[Axes]:
    """Averages over what lies along its axes, so that all of it counts."""
    given, layer = v.given[0], v.layer
    axes = getattr(layer, "axis", -1)
    over = [a % given.rank for a in (axes if isinstance(axes, (list, tuple)) else (axes,))]
    v.pin([given.axes[number] for number in over], f"{v.label} averages over it")
    v.trace.keep(layer, f"{v.label} averages over it")
    return [tuple(None if number in over else axis for number, axis in enumerate(given.axes))]


def group(v: Visit) -> list[Axes]:
    """Averages over each group of channels, so that all channels of a group go or none."""
    (given,), layer = v.given, v.layer
    at = layer.axis % given.rank
    v.only(given, at, 0, does="averages over")
    ids = given.axes[at]
    if ids is None:
        v.trace.keep(layer, f"{v.label} is called where it can't be cut")
        return [given.axes]
    for variable in layer.variables:
        v.trace.weight(variable, (ids,))
    groups = v.trace.factor(layer.groups)
    v.trace.unite(ids, np.repeat(groups, len(ids) // layer.groups), "")
    v.trace.set(layer, "groups", Size(groups))
    return [given.axes]


LAYERS: dict[str, Rule] = {
    "BatchNormalization": batch,
    "GroupNormalization": group,
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "UnitNormalization"), over_channels),
}
OPERATIONS: dict[str, Rule] = {}
