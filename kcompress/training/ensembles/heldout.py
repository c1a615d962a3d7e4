"""A share of the training data, set apart to find how predictions are to be combined."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Batch, Dataset
from kcompress.data.batches import rebatch
from kcompress.errors import DataError
from kcompress.measure.scoring import check_classes
from kcompress.model.signature import signature
from kcompress.training.compiled import compiled
from kcompress.training.labelled import as_labelled, filled, renamed
from kcompress.training.losses.soft_targets import OutputKind

Array = NDArray[Any]
READ = 256
SHARE, LEAST, MOST = 0.2, 1000, 10_000
"""The share of samples that is set apart, and their least and greatest number."""
VALUES = 50_000_000
"""The most values of predictions that are held in memory."""


@dataclass(frozen=True)
class HeldOut:
    """Labels of each output in order, and what a model gave: an array for each of its outputs."""

    labels: list[Array]
    predictions: list[Array]


def held_out(model: Any, reader: Any, data: Dataset, seed: int) -> HeldOut:
    """Run a model on samples that the seed alone chooses. `reader` is the one whose inputs and labels the data is for.

    Raises DataError for data without labels.
    """
    samples = data.counted()
    each = sum(int(np.prod([size or 1 for size in tensor.shape[1:]])) for tensor in model.outputs)
    count = min(samples, max(LEAST, round(SHARE * samples)), MOST, max(1, VALUES // each))
    chosen = np.zeros(samples, bool)
    chosen[np.random.default_rng((seed, 1 << 33)).permutation(samples)[:count]] = True
    sign = signature(model)
    run = compiled(model, sign.dtypes, lambda x: sign.pack(list(x.values())), lambda outputs, _: _flat(outputs))
    source = signature(reader)
    fitted = data if data.bindings else data.fit_to(source.inputs)
    labels: list[list[Array]] = []
    predictions: list[list[Array]] = []
    for batch in rebatch(_picked(fitted.batches(READ), chosen), sign.batch or READ):
        read = as_labelled(source, data.name, batch)
        rows = sign.batch or batch.samples
        given = run({name: filled(x, rows) for name, x in renamed(sign.inputs, read.inputs).items()})
        predictions.append([array[: batch.samples] for array in given])
        labels.append([label[: batch.samples] for label in read.labels])
    if not labels:
        raise DataError(f"{data.name}: no samples; give training data that is not empty")
    return HeldOut(*([np.concatenate(parts) for parts in zip(*found, strict=True)] for found in (labels, predictions)))


def _flat(outputs: Any) -> list[Any]:
    import keras

    return list(keras.tree.flatten(outputs))


def _picked(batches: Iterable[Batch], chosen: NDArray[np.bool_]) -> Iterator[Batch]:
    """Only the chosen samples."""
    start = 0
    for batch in batches:
        rows = chosen[start : start + batch.samples]
        start += batch.samples
        if rows.any():
            yield batch.take(rows)


def target(name: str, output: str, kind: OutputKind, label: Array, shape: tuple[int, ...]) -> Array:
    """Labels of the data `name` in the shape of the predictions for an output: what probabilities or values should be.

    Raises DataError where they can't be that.
    """
    if label.size * shape[-1] == np.prod(shape) and shape[-1] > 1:
        check_classes(name, output, label, shape[-1])
        return np.asarray(np.eye(shape[-1], dtype=np.float32)[label.reshape(shape[:-1]).astype(int)])
    label = label.reshape(shape).astype(np.float32)
    if kind != "values" and (label.min() < 0 or label.max() > 1):
        raise DataError(
            f"{name}: labels from {label.min():g} to {label.max():g} are no probabilities, which output '{output}' "
            "gives; give classes, or shares of them"
        )
    return label
