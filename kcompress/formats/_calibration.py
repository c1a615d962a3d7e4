"""Ranges of a file's tensors on calibration data, whichever runtime runs it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.errors import DataError
from kcompress.formats.base import Tensors, by_position
from kcompress.layers.plan import Activations
from kcompress.numerics.ranges import Range

BATCH = 4  # every tensor of a batch is in memory at once


def measure_ranges(
    data: Dataset,
    activations: Activations,
    run: Callable[[Tensors], Iterable[tuple[str, NDArray[Any]]]],
    inputs: Mapping[str, tuple[int | None, ...]],
) -> dict[str, tuple[float, float]]:
    """Tensor name to the range to represent, by `run`, which yields a batch's float tensors by name.

    Raises DataError if a tensor is not finite on some sample.
    """
    found: dict[str, Range] = {}
    for x in _batches(data, activations.samples, inputs):
        for name, values in run(x):
            statistics = found.setdefault(name, Range(detailed=activations.ranges != "minmax"))
            statistics.add(values)
            if not statistics.finite:
                raise DataError(
                    f"{data.name}: tensor '{name}' is not finite on these samples; calibrate with data like the "
                    "training data"
                )
    levels = 1 << activations.bits
    return {name: r.choose(activations.ranges, levels, activations.percentile) for name, r in found.items()}


def _batches(data: Dataset, samples: int, inputs: Mapping[str, tuple[int | None, ...]]) -> Iterator[dict[str, Any]]:
    """Batches under the file's input names; of the size that the file has fixed, where it has, the last filled up."""
    fixed = next(iter(inputs.values()))[0]
    for batch in data.batches(fixed or BATCH, limit=samples):
        assert isinstance(batch.x, dict)
        x = by_position(batch.x, inputs)
        if fixed is not None:
            x = {name: np.resize(values, (fixed, *values.shape[1:])) for name, values in x.items()}
        yield x
