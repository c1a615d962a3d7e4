"""Batches with labels, as a model takes and gives them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.errors import DataError
from kcompress.graph.signature import signature
from kcompress.measure.scoring import labels_for


@dataclass(frozen=True)
class Labelled:
    """A batch: inputs by the model's names, and one array of labels for each output, in the outputs' order.

    Only the first `samples` rows are the data's own; those after them fill a model's fixed batch.
    """

    inputs: dict[str, NDArray[Any]]
    labels: list[NDArray[Any]]
    samples: int


def labelled(model: Any, data: Dataset, size: int, limit: int | None = None) -> Iterator[Labelled]:
    """Read batches of `size` samples, or of the size that the model has fixed; `limit` samples in all, at most.

    A batch that is too small for a model of a fixed size is filled up by repeating its samples.
    Raises DataError (while iterating) for data without labels, or without those of an output.
    """
    sign = signature(model)
    fitted = data if data.feeds else data.fit_to(sign.inputs)
    fixed = next(iter(sign.inputs.values()))[0]
    for batch in fitted.batches(fixed or size, limit):
        if batch.y is None:
            raise DataError(f"{data.name} has no labels; give data with an array y")
        assert isinstance(batch.x, dict)
        rows = fixed or batch.samples
        labels = labels_for(data.name, batch.y, sign.outputs)
        yield Labelled(
            {name: _filled(x, rows) for name, x in batch.x.items()}, [_filled(y, rows) for y in labels], batch.samples
        )


def unlabelled(model: Any, data: Dataset, size: int) -> Iterator[Labelled]:
    """Read batches as `labelled` does, without labels, whether the data has some or not."""
    sign = signature(model)
    fitted = data if data.feeds else data.fit_to(sign.inputs)
    fixed = next(iter(sign.inputs.values()))[0]
    for batch in fitted.batches(fixed or size):
        assert isinstance(batch.x, dict)
        rows = fixed or batch.samples
        yield Labelled({name: _filled(x, rows) for name, x in batch.x.items()}, [], batch.samples)


def _filled(array: NDArray[Any], rows: int) -> NDArray[Any]:
    return array if len(array) == rows else np.resize(array, (rows, *array.shape[1:]))
