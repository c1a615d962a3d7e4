"""The state of a training, written each epoch or every few minutes, so that it goes on where it was killed.

With the same data, seed and settings it then ends as if nothing had happened: which samples a batch has is decided by
its number, and all that a step changes is in the state.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kcompress import cache
from kcompress.codec import decode, encode
from kcompress.errors import OutputError
from kcompress.files import whole
from kcompress.training.distribution import alike, array
from kcompress.training.outcome import Outcome

FILE = "state.npz"
Arrays = list[NDArray[Any]]


@dataclass
class State:
    """Where a training is: the next step, and what was found out so far."""

    outcome: Outcome
    best: float
    kept: Annotated[Any, Field(exclude=True)] = field(default_factory=list)  # arrays, stored on their own
    """The best weights so far."""
    waited: int = 0
    """Epochs since those."""
    total: float = 0.0
    """The sum of the losses of this epoch's steps."""
    seconds: float = 0.0
    """How long this epoch took so far."""


class Checkpoint:
    """A file for the state of one training; does nothing without a folder, or where that can't be written."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / FILE

    def save(self, state: State, variables: Sequence[Any]) -> None:
        """Write the state, whole or not at all."""
        if self._path is None:
            return
        arrays = {f"v{number}": array(variable) for number, variable in enumerate(variables)}
        arrays |= {f"k{number}": array for number, array in enumerate(state.kept)} if state.waited else {}
        with suppress(OSError, OutputError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole([self._path]) as (draft,):
                np.savez(draft, allow_pickle=False, state=np.array(encode(state)), **arrays)

    def load(self, variables: Sequence[Any], kept: int) -> State | None:
        """Put the variables to where they were and return the state; None if there is none that fits them.

        The first `kept` variables are the ones of which the best values are kept.
        """
        state, values = self._read(len(variables), kept)
        if state is not None and any(
            value.shape != tuple(variable.shape) for value, variable in zip(values, variables, strict=True)
        ):
            state = None
        if not alike(-1 if state is None else state.outcome.steps) or state is None:
            return None
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return state

    def _read(self, count: int, kept: int) -> tuple[State | None, Arrays]:
        """The state, and the values of all variables; None without a file that holds them."""
        if self._path is None:
            return None, []
        with cache.dropping(self._path), np.load(self._path, allow_pickle=False) as file:  # whose parts have checksums
            state = decode(State, str(file["state"]))
            values = [file[f"v{number}"] for number in range(count)]
            state.kept = [file[f"k{number}"] for number in range(kept)] if state.waited else values[:kept]
            return state, values
        return None, []
