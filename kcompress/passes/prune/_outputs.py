"""What the outputs of units on data say of them, at every place that reads them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Batch, Dataset
from kcompress.errors import DataError
from kcompress.graph.channels import Channels
from kcompress.graph.gates import gated
from kcompress.graph.gradients import gradients
from kcompress.graph.observe import outputs, run, to_arrays
from kcompress.graph.reading import Place, places
from kcompress.graph.signature import Signature, signature
from kcompress.graph.view import Node
from kcompress.measure.scoring import labels_for
from kcompress.passes.prune._tally import Tally, totals
from kcompress.passes.statistics import batches
from kcompress.training.losses import Loss, loss_for

BATCH = 32


def activations(
    model: Any, channels: Channels, tally: Tally, data: Dataset | None, samples: int, *, zeros: bool
) -> None:
    """E|x|, or with `zeros` the share of x that is not 0, over samples and positions, at each place that reads x.

    Source of the share of zeros: Hu, Peng, Tai and Tang, "Network Trimming: A Data-Driven Neuron Pruning Approach
    towards Efficient Deep Architectures", 2016.
    """
    data = _given(data, "zeros" if zeros else "activation")
    every = places(model, channels)
    sums = [np.zeros(len(place.ids)) for place in every]
    counts = [0] * len(every)
    numbered: dict[int, list[int]] = {}
    for number, place in enumerate(every):
        numbered.setdefault(id(place.node.layer), []).append(number)

    def seen(node: Node, given: Mapping[str, Any], _: Any) -> None:
        for number in numbered[id(node.layer)]:
            place = every[number]
            x = np.moveaxis(to_arrays(given[place.argument]), place.axis, -1).reshape(-1, len(place.ids))
            sums[number] += np.count_nonzero(x, axis=0) if zeros else np.abs(x, dtype=np.float64).sum(0)
            counts[number] += len(x)

    run(model, batches(model, data, samples), {id(p.node.layer): p.node for p in every}.values(), seen)
    for place, total, count in zip(every, sums, counts, strict=True):
        if count:
            if not np.isfinite(total).all():
                raise DataError(
                    f"what goes into layer '{place.node.name}' is not finite on the samples of {data.name}; give data "
                    "like the training data, or repair the layer"
                )
            units, found = totals(channels.units, place.ids, np.stack([total / count, np.ones(len(total))], axis=1))
            tally.add(units, found[:, 0] / found[:, 1])


def effects(model: Any, channels: Channels, tally: Tally, data: Dataset | None, samples: int) -> None:
    """E|Σ x · ∂L/∂x|, the sum over all places that read a unit and all positions of a sample, the mean over samples.

    That is by how much the loss of a sample changes, to first order, when the weights that read the unit become zero.
    Source: Molchanov, Tyree, Karras, Aila and Kautz, "Pruning Convolutional Neural Networks for Resource Efficient
    Inference", 2017.
    """
    data = _given(data, "taylor")
    if not data.labelled:
        raise DataError(f"{data.name}: has no labels, which criterion=taylor needs; give labelled data, or another one")
    sign, every = signature(model), places(model, channels)
    data = data if data.feeds else data.fit_to(dict(sign.inputs))
    total, count, loss = np.zeros(channels.units.count), 0, None
    reached: set[int] = set()
    fixed = next(iter(sign.inputs.values()))[0]
    for batch in data.batches(fixed or BATCH, samples):
        if fixed is not None and batch.samples != fixed:
            break
        loss = loss or _loss(model, sign, data.name, batch)
        seen, change = _changes(model, channels, sign, every, loss, data.name, batch)
        reached |= seen
        total += np.abs(change).sum(axis=1)
        count += batch.samples
    if not np.isfinite(total).all():
        raise DataError(
            f"{data.name}: the gradients of the loss are not finite on its samples; give data like the training data"
        )
    if count:
        read = [channels.units.of(every[number].ids) for number in sorted(reached)]
        units = np.unique(np.concatenate([*read, np.zeros(0, np.intp)]))
        tally.add(units, total[units] / count)


def _changes(
    model: Any, channels: Channels, sign: Signature, every: list[Place], loss: Loss, name: str, batch: Batch
) -> tuple[set[int], NDArray[np.float64]]:
    """The places that were reached, and for each unit and sample of a batch Σ x · ∂L/∂x."""
    labels = labels_for(name, batch.y, sign.outputs) if batch.y is not None else []
    reached: set[int] = set()

    def summed(gates: list[Any]) -> Any:
        import keras

        with gated(every, gates) as seen:
            found = outputs(model, sign, _named(batch))
        reached.update(seen)
        return keras.ops.sum(loss(labels, found))

    ones = [np.ones((batch.samples, len(place.ids)), np.float32) for place in every]
    _, slopes = gradients(summed, ones)
    change = np.zeros((channels.units.count, batch.samples))
    for number in reached:
        units, values = totals(channels.units, every[number].ids, slopes[number].T)
        change[units] += values
    return reached, change


def _loss(model: Any, sign: Signature, name: str, batch: Batch) -> Loss:
    """The loss for what the model gives for a batch; DataError if it can't be taken of these labels."""
    labels = labels_for(name, batch.y, sign.outputs) if batch.y is not None else []
    found = outputs(model, sign, _named(batch))
    loss = loss_for(model, name, sign.outputs, labels, [np.asarray(to_arrays(each)) for each in found])
    try:
        loss(labels, found)
    except Exception as error:
        raise DataError(
            f"{name}: the loss that the model is compiled with does not take these labels "
            f"({str(error).splitlines()[0][:120]}); give labels like those it was trained on"
        ) from error
    return loss


def _named(batch: Batch) -> Mapping[str, Any]:
    assert isinstance(batch.x, dict)
    return batch.x


def _given(data: Dataset | None, criterion: str) -> Dataset:
    if data is None:
        raise DataError(f"criterion={criterion} needs data; give it with --data, or another criterion")
    return data
