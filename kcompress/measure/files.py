"""The figures of one file that need no data: bytes, weights, latency, memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats import OwnProcess, Runner, Tensors, by_position, file_bytes, find, gzip_bytes
from kcompress.measure.latency import latency_ms
from kcompress.memory import PeakMemory

UNKNOWN_SIZE = 16  # taken for an input dimension, other than the batch, that the model leaves open


@dataclass(frozen=True)
class FileFigures:
    """Sizes in bytes, latency in milliseconds for one sample; figures of weights are of those in the file."""

    path: str
    format: str
    bytes: int
    gzip_bytes: int
    parameters: int
    nonzero: int
    bits_per_weight: float
    macs: int | None
    latency_ms: dict[str, float]
    peak_memory_bytes: int | None


def measure_file(path: Path, sample: Tensors | None, trust: Sequence[str] = ()) -> tuple[FileFigures, Runner]:
    """Measure a model file, and return the runner that was loaded for it. `sample` is a batch of one.

    Peak memory is the memory that the process which runs it needs more to load the file and to make the first calls.
    """
    file_format = find(path)
    peak = PeakMemory()
    peak.reset()
    runner = file_format.open(path, trust)
    inputs = made_up_sample(runner) if sample is None else by_position(sample, runner.inputs)
    milliseconds = latency_ms(runner, inputs)
    rise = runner.peak_bytes if isinstance(runner, OwnProcess) else peak.rise()
    description = file_format.describe(path, trust, runner)
    figures = FileFigures(
        path=str(path),
        format=file_format.name,
        bytes=file_bytes(path),
        gzip_bytes=gzip_bytes(path),
        parameters=description.parameters,
        nonzero=description.nonzero,
        bits_per_weight=description.bits_per_weight,
        macs=description.macs,
        latency_ms=milliseconds,
        peak_memory_bytes=rise,
    )
    return figures, runner


def made_up_sample(runner: Runner) -> dict[str, NDArray[Any]]:
    """Zeros in the shape of one sample, for timing without data."""
    return {
        name: np.zeros((1, *(size or UNKNOWN_SIZE for size in shape[1:])), np.float32)
        for name, shape in runner.inputs.items()
    }
