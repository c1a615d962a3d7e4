"""Arrays as a runner takes them: in batches of the file's size, under the file's names, in the file's types."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import ModelError
from kcompress.formats.base import Runner, Tensors


def run_batches(runner: Runner, x: Tensors) -> list[NDArray[Any]]:
    """Run any number of samples; a file with a fixed batch size gets them in such batches, the last one filled up."""
    fixed = next(iter(runner.inputs.values()))[0]
    count = len(next(iter(x.values())))
    if fixed is None or fixed == count:
        return runner(x)
    parts = []
    for start in range(0, count, fixed):
        piece = {name: values[start : start + fixed] for name, values in x.items()}
        short = fixed - len(next(iter(piece.values())))
        if short:
            piece = {name: np.concatenate([values, np.repeat(values[-1:], short, 0)]) for name, values in piece.items()}
        parts.append(runner(piece))
    return [np.concatenate(outputs)[:count] for outputs in zip(*parts, strict=True)]


def by_position(x: Tensors, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The same arrays under these input names: by name where the names agree, else in order; ModelError if neither."""
    if set(x) == set(inputs):
        return dict(x)
    if len(x) != len(inputs):
        raise ModelError(f"models take {len(x)} and {len(inputs)} inputs; compare like with like")
    return dict(zip(inputs, x.values(), strict=True))


def cast_inputs(x: Tensors, dtypes: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Give each input the dtype that the runtime wants."""
    return {name: np.asarray(x[name], dtype=dtype) for name, dtype in dtypes.items()}
