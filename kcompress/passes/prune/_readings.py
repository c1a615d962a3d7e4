"""What the places that read a unit say of it: what they are given, and what the loss makes of that."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.gates import gated
from kcompress.channels.reading import Place, numbered, places
from kcompress.data import Dataset
from kcompress.errors import DataError
from kcompress.model.gradients import gradients
from kcompress.model.observe import outputs, run, to_arrays
from kcompress.model.signature import Signature, signature
from kcompress.model.view import Node
from kcompress.passes.prune._tally import Tally, totals
from kcompress.passes.statistics import BATCH, batches
from kcompress.training.labelled import Labelled, labelled
from kcompress.training.losses import Loss, loss_for

VALUES = 2**27
"""Elements of tensors between layers that are kept for a gradient at once, about: 512 MiB in float32."""


def activations(model: Any, channels: Channels, tally: Tally, data: Dataset, samples: int, *, zeros: bool) -> None:
    """E|x| of what a place is given of a unit, or the share of x that is not zero; over samples and positions.

    The latter is one minus the average percentage of zeros (APoZ) of Hu, Peng, Tai and Tang, "Network Trimming: A
    Data-Driven Neuron Pruning Approach towards Efficient Deep Architectures", 2016.
    """
    found = places(model, channels)
    numbers = numbered(found)
    sums, counts = [np.zeros(len(place.ids)) for place in found], [0] * len(found)

    def seen(node: Node, given: Mapping[str, Any], _result: Any) -> None:
        for number in numbers[id(node.layer)]:
            x = np.asarray(to_arrays(given[found[number].argument]), np.float32)
            if not np.isfinite(x.sum(dtype=np.float64)):
                raise _not_finite(f"what goes into layer '{node.name}'", data)
            axis = found[number].axis % x.ndim
            over = tuple(other for other in range(x.ndim) if other != axis)
            sums[number] += np.count_nonzero(x, over) if zeros else np.abs(x).sum(over, dtype=np.float64)
            counts[number] += x.size // x.shape[axis]

    run(model, batches(model, data, samples), [found[first].node for first, *_ in numbers.values()], seen)
    for place, total, count in zip(found, sums, counts, strict=True):
        if count:
            units, parts = totals(channels.units, place.ids, np.stack([total / count, np.ones_like(total)], axis=1))
            tally.add(units, parts[:, 0] / parts[:, 1])


def taylor(model: Any, channels: Channels, tally: Tally, data: Dataset, samples: int) -> None:
    """E|Σ x · ∂L/∂x| with the sum over all places and positions where a sample's unit is read.

    To first order the change of the loss when all weights that read the unit are zeroed. Sources: Molchanov, Tyree,
    Karras, Aila and Kautz, "Pruning Convolutional Neural Networks for Resource Efficient Inference", 2017; Molchanov,
    Mallya, Tyree, Frosio and Kautz, "Importance Estimation for Neural Network Pruning", 2019.
    """
    loss, sign, found = loss_for(model, data), signature(model), places(model, channels)
    sums, told, count = np.zeros(channels.units.count), np.zeros(channels.units.count, bool), 0
    for batch in labelled(model, data, batch_size(channels), samples):
        loss.check(data.name, sign.outputs, batch.labels)
        slopes, reached = _slopes(model, sign, found, loss, batch)
        effects = np.zeros((channels.units.count, batch.samples))
        for number in reached:
            if not np.isfinite(slopes[number]).all():
                raise _not_finite(f"the gradient of the loss at layer '{found[number].node.name}'", data)
            units, parts = totals(channels.units, found[number].ids, slopes[number][: batch.samples].T)
            effects[units] += parts
            told[units] = True
        sums += np.abs(effects).sum(1)
        count += batch.samples
    tally.add(np.flatnonzero(told), sums[told] / max(count, 1))


def batch_size(channels: Channels) -> int:
    """As many samples, up to BATCH, as have no more values between layers than VALUES, or one."""
    each = sum(math.prod(size or 1 for size in shape[1:]) for shape in channels.flow.shapes.values())
    return max(1, min(BATCH, VALUES // each))


def _slopes(
    model: Any, sign: Signature, found: Sequence[Place], loss: Loss, batch: Labelled
) -> tuple[list[NDArray[Any]], set[int]]:
    """Derivatives of the summed loss of a batch by the gates of all places, and the places that were reached."""
    import keras

    rows = len(next(iter(batch.inputs.values())))
    reached: set[int] = set()

    def summed(gates: list[Any]) -> Any:
        with gated(found, gates) as now:
            values = loss(batch.labels, outputs(model, sign, batch.inputs))
        reached.update(now)
        return keras.ops.sum(values)

    _, slopes = gradients(summed, [np.ones((rows, len(place.ids)), np.float32) for place in found])
    return slopes, reached


def _not_finite(what: str, data: Dataset) -> DataError:
    return DataError(f"{what} is not finite on the samples of {data.name}; give data like the training data")
