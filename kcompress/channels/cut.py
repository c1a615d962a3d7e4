"""A model without some of its channels: settings edited, weights sliced."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.trace import Slices
from kcompress.model.rebuild import pairs, resized, variables

Dropped = NDArray[np.bool_]
"""For each unit whether it goes."""


def cut(model: Any, channels: Channels, dropped: Dropped) -> Any:
    """A new model without the units for which `dropped` is true; the given model is not changed.

    Names, trainability, dtype policies, compile state and the order of weights are the same. Memory: the two models,
    and one weight at a time.
    """
    none = np.zeros_like(dropped)
    settings: dict[int, dict[Any, Any]] = {}
    for key, fields in channels.fields.items():
        filled = {name: channels.fill(value, dropped) for name, value in fields.items()}
        if filled != {name: channels.fill(value, none) for name, value in fields.items()}:
            settings[key] = filled  # others stay as they were written
    smaller = resized(model, settings)
    for source, target in pairs(model, smaller):
        slices = channels.slices.get(id(source))
        values = np.asarray(source)
        target.assign(values if slices is None else sliced(channels, slices, values, dropped))
    return smaller


def sliced(channels: Channels, slices: Slices, values: NDArray[Any], dropped: Dropped) -> NDArray[Any]:
    """What is left of the values of a weight, or of an array of its shape."""
    for number, axis in enumerate(slices.axes):
        if axis is not None:
            stay = channels.units.stay(axis, dropped)
            if not stay.all():
                values = np.compress(stay, values, number)
    return values * values.dtype.type(factor(channels, slices, dropped)) if slices.rescale else values


def factor(channels: Channels, slices: Slices, dropped: Dropped) -> float:
    """The factor of the weight by `Slices.rescale`."""
    if slices.rescale is None:
        return 1.0
    ids, power = slices.rescale
    return float((channels.kept(ids, dropped) / len(ids)) ** power)


def zeroed(model: Any, channels: Channels, dropped: Dropped) -> Iterator[tuple[Any, NDArray[Any]]]:
    """The variables that change, with their new values, if dropped units are zeroed instead of removed.

    The outputs are those of `cut`. The weights that read a dropped unit become zero. Where channels are summed over
    without a weight, the weights that make the unit become zero too.
    """
    mixed = np.zeros_like(dropped)
    for summed in channels.mixed:
        mixed[channels.units.of(summed)] = True
    for variable in variables(model):
        slices = channels.slices.get(id(variable))
        values = np.asarray(variable)
        places: list[tuple[int, Dropped]] = []
        for number, ids in enumerate(slices.axes if slices else ()):
            if slices is None or ids is None:
                continue
            stay = channels.units.stay(ids, dropped if number in slices.reads else dropped & mixed)
            if not stay.all():
                places.append((number, ~stay))
        if places:
            values = values.copy()
            for number, gone in places:
                np.moveaxis(values, number, 0)[gone] = 0
            yield variable, values
