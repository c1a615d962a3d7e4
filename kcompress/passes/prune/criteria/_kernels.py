"""The kernels that make units, from which criteria that look at weights score them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.identities import Ids
from kcompress.errors import ModelError
from kcompress.model.view import nodes
from kcompress.passes.prune.criteria._tally import Values, totals

WEIGHTS = "Their weights"


def per_unit(
    model: Any, channels: Channels, of: Callable[[NDArray[Any]], NDArray[Any]]
) -> Iterator[tuple[Ids, Values]]:
    """For each kernel the units that it makes, and for each the sum of a function of all its weights there."""
    for values, axis, ids in makers(model, channels):
        over = tuple(number for number in range(values.ndim) if number != axis)
        yield totals(channels.units, ids, of(values).sum(over, dtype=np.float64))


def makers(model: Any, channels: Channels) -> Iterator[tuple[NDArray[Any], int, Ids]]:
    """The values of kernels that make channels, each with an axis along which they lie, and their identities."""
    for node in nodes(model):
        for weight in node.kernels:
            slices = channels.slices.get(id(weight.variable))
            for axis, ids in enumerate(slices.axes if slices else ()):
                if slices and ids is not None and axis not in slices.reads:
                    yield finite(weight.variable), axis, ids


def finite(variable: Any) -> NDArray[Any]:
    """The values of a variable in float32 or better; ModelError if one is not finite."""
    values = np.asarray(variable)
    values = values.astype(np.promote_types(np.float32, values.dtype), copy=False)
    if not np.isfinite(values).all():
        raise ModelError(f"{variable.path} holds weights that are not finite; repair or train the model first")
    return values
