"""Cut a model at random, and compare it with the whole one whose dropped channels nothing reads."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kcompress.graph.channels import Channels
from kcompress.graph.rebuild import copy, variables


def arrays(found: Channels) -> Iterator[Any]:
    """The identities along every axis of every weight and tensor."""
    for slices in found.slices.values():
        yield from (axis for axis in slices.axes if axis is not None)
    for axes in found.tensors.values():
        yield from (axis for axis in axes if axis is not None)


def at_random(found: Channels, share: float, seed: int) -> Any:
    """About this share of the units that may go, so that something is left of every axis."""
    random = np.random.default_rng(seed)
    dropped = random.random(found.units.count) < share
    dropped[list(found.units.pinned)] = False
    distinct = list({id(ids): ids for ids in arrays(found)}.values())
    while empty := [ids for ids in distinct if not found.units.stay(ids, dropped).any()]:
        for ids in empty:
            dropped[found.units.of(ids[:1])] = False
    return dropped


def unread(model: Any, found: Channels, dropped: Any) -> Any:
    """A copy of the model in which the weights that read dropped channels are zero.

    Where channels are summed over without a weight, those are zero that make them.
    """
    twin = copy(model)
    multiplied = np.zeros_like(dropped)
    for ids in found.mixed:
        multiplied[found.units.of(ids)] = True
    for source, target in zip(variables(model), variables(twin), strict=True):
        slices = found.slices.get(id(source))
        values = np.asarray(source).copy()
        for axis, ids in enumerate(slices.axes if slices else ()):
            if slices and ids is not None:
                gone = dropped if axis in slices.reads else dropped & multiplied
                np.moveaxis(values, axis, 0)[~found.units.stay(ids, gone)] = 0
        target.assign(values)
    return twin


def difference(one: Any, other: Any) -> float:
    """The largest difference of two lists of outputs, relative to the largest output of the first."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(one, other, strict=True)]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)
