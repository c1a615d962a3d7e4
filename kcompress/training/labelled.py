"""Batches with labels, as a model takes and gives them, and inputs under the names of another model."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Batch, Dataset
from kcompress.errors import DataError
from kcompress.measure.scoring import labels_for
from kcompress.model.signature import Signature, signature


@dataclass(frozen=True)
class Labelled:
    """A batch: inputs by the model's names, and one array of labels for each output, in the outputs' order.

    Only the first `samples` rows are the data's own; those after them fill a model's fixed batch.
    """

    inputs: dict[str, NDArray[Any]]
    labels: list[NDArray[Any]]
    samples: int


def labelled(model: Any, data: Dataset, size: int, limit: int | None = None, labels: bool = True) -> Iterator[Labelled]:
    """Read batches of `size` samples, or of the size that the model has fixed; `limit` samples in all, at most.

    A batch that is too small for a model of a fixed size is filled up by repeating its samples. Without `labels`, those
    that the data has are left out.
    Raises DataError (while iterating) for data without labels, or without those of an output.
    """
    sign = signature(model)
    fitted = data if data.bindings else data.fit_to(sign.inputs)
    for batch in fitted.batches(sign.batch or size, limit):
        yield as_labelled(sign, data.name, batch, labels)


def as_labelled(sign: Signature, name: str, batch: Batch, labels: bool = True) -> Labelled:
    """One batch of the data `name`, once fitted to a model of this signature, as `labelled` gives it."""
    if labels and batch.y is None:
        raise DataError(f"{name} has no labels; give data with an array y")
    assert isinstance(batch.x, dict)
    rows = sign.batch or batch.samples
    found = labels_for(name, batch.y, sign.outputs) if labels and batch.y is not None else []
    return Labelled(
        {key: filled(x, rows) for key, x in batch.x.items()}, [filled(y, rows) for y in found], batch.samples
    )


def filled(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """So many rows: the array's own, repeated where there are fewer."""
    return array if len(array) == rows else np.resize(array, (rows, *array.shape[1:]))


def renamed(names: Collection[str], batch: Mapping[str, Any]) -> dict[str, Any]:
    """A student's inputs, in order, under another model's names: by name where it has them all, else by position."""
    if set(names) <= set(batch):
        return {name: batch[name] for name in names}
    return dict(zip(names, batch.values(), strict=False))
