"""A share of the training data, set apart to find how predictions are to be combined."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.errors import DataError
from kcompress.graph.signature import signature
from kcompress.measure.scoring import check_classes
from kcompress.training.compiled import compiled
from kcompress.training.forms import renamed
from kcompress.training.labelled import Labelled, labelled
from kcompress.training.soft_targets import Form

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
    samples = data.samples if data.samples is not None else sum(batch.samples for batch in data.batches(READ))
    each = sum(int(np.prod([size or 1 for size in tensor.shape[1:]])) for tensor in model.outputs)
    count = min(samples, max(LEAST, round(SHARE * samples)), MOST, max(1, VALUES // each))
    chosen = np.zeros(samples, bool)
    chosen[np.random.default_rng((seed, 1 << 33)).permutation(samples)[:count]] = True
    sign = signature(model)
    run = compiled(model, sign.dtypes, lambda x: sign.pack(list(x.values())), lambda outputs, _: _flat(outputs))
    labels: list[list[Array]] = []
    predictions: list[list[Array]] = []
    for batch in _picked(labelled(reader, data, READ), chosen):
        fixed = next(iter(sign.inputs.values()))[0]
        for start in range(0, batch.samples, fixed or batch.samples):
            stop = min(start + (fixed or batch.samples), batch.samples)
            rows = np.arange(start, stop if fixed is None else start + fixed) % batch.samples
            given = run(renamed(sign.inputs, {name: x[rows] for name, x in batch.inputs.items()}))
            predictions.append([array[: stop - start] for array in given])
        labels.append(batch.labels)
    if not labels:
        raise DataError(f"{data.name}: no samples; give training data that is not empty")
    return HeldOut(*([np.concatenate(parts) for parts in zip(*found, strict=True)] for found in (labels, predictions)))


def _flat(outputs: Any) -> list[Any]:
    import keras

    return list(keras.tree.flatten(outputs))


def _picked(batches: Iterator[Labelled], chosen: NDArray[np.bool_]) -> Iterator[Labelled]:
    """Only the chosen samples, in batches of READ and a rest."""
    start, waiting = 0, 0
    held: list[Labelled] = []
    for batch in batches:
        rows = np.flatnonzero(chosen[start : start + batch.samples])
        start += batch.samples
        held.append(Labelled({n: x[rows] for n, x in batch.inputs.items()}, [y[rows] for y in batch.labels], len(rows)))
        waiting += len(rows)
        if waiting >= READ:
            yield _joined(held, waiting)
            held, waiting = [], 0
    if waiting:
        yield _joined(held, waiting)


def _joined(parts: list[Labelled], samples: int) -> Labelled:
    return Labelled(
        {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
        [np.concatenate(each) for each in zip(*(part.labels for part in parts), strict=True)],
        samples,
    )


def target(name: str, output: str, form: Form, label: Array, shape: tuple[int, ...]) -> Array:
    """Labels of the data `name` in the shape of the predictions for an output: what probabilities or values should be.

    Raises DataError where they can't be that.
    """
    if label.size * shape[-1] == np.prod(shape) and shape[-1] > 1:
        check_classes(name, output, label, shape[-1])
        return np.asarray(np.eye(shape[-1], dtype=np.float32)[label.reshape(shape[:-1]).astype(int)])
    label = label.reshape(shape).astype(np.float32)
    if form != "values" and (label.min() < 0 or label.max() > 1):
        raise DataError(
            f"{name}: labels from {label.min():g} to {label.max():g} are no probabilities, which output '{output}' "
            "gives; give classes, or shares of them"
        )
    return label
