"""Ranges of a file's tensors on calibration data, whichever runtime runs it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.errors import DataError
from kcompress.formats.base import Tensors
from kcompress.formats.batches import by_position
from kcompress.numerics.ranges import Range
from kcompress.quantization.plan import Activations

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
    for x in data.inputs(BATCH, next(iter(inputs.values()))[0], activations.samples):
        for name, values in run(by_position(x, inputs)):
            statistics = found.setdefault(name, Range(detailed=activations.ranges != "minmax"))
            statistics.add(values)
            if not statistics.finite:
                raise DataError(
                    f"{data.name}: tensor '{name}' is not finite on these samples; calibrate with data like the "
                    "training data"
                )
    return {name: activations.range_of(statistics) for name, statistics in found.items()}
