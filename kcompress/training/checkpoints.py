"""The state of a training, written each epoch or every few minutes, so that it goes on where it was killed.

With the same data, seed and settings it then ends as if nothing had happened: which samples a batch has is decided by
its number, and all that a step changes is in the state.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.training.distribution import alike, array
from kcompress.training.outcome import Epoch, Outcome

FILE = "state.npz"
Arrays = list[NDArray[Any]]


@dataclass
class State:
    """Where a training is: the next step, and what was found out so far."""

    outcome: Outcome
    best: float
    kept: Arrays = field(default_factory=list)
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
        facts = {key: value for key, value in asdict(state).items() if key != "kept"}
        arrays = {f"v{number}": array(variable) for number, variable in enumerate(variables)}
        arrays |= {f"k{number}": array for number, array in enumerate(state.kept)} if state.waited else {}
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent)
            try:
                with os.fdopen(handle, "wb") as stream:
                    np.savez(stream, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)
                Path(name).rename(self._path)
            finally:
                Path(name).unlink(missing_ok=True)

    def load(self, variables: Sequence[Any], kept: int) -> State | None:
        """Put the variables to where they were and return the state; None if there is none that fits them.

        The first `kept` variables are the ones of which the best values are kept.
        """
        facts, values, best = self._read(len(variables), kept)
        fits = len(values) == len(variables) and all(
            value.shape == tuple(variable.shape) for value, variable in zip(values, variables, strict=True)
        )
        if not alike(facts["outcome"]["steps"] if fits else -1) or not fits:
            return None
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        epochs = [Epoch(**epoch) for epoch in facts["outcome"].pop("epochs")]
        facts["outcome"] = Outcome(**facts["outcome"], epochs=epochs)
        return State(**facts, kept=best)

    def _read(self, count: int, kept: int) -> tuple[dict[str, Any], Arrays, Arrays]:
        """What the file says, the values of all variables and the best ones; nothing without a file."""
        if self._path is None:
            return {}, [], []
        try:
            with np.load(self._path, allow_pickle=False) as file:
                facts = json.loads(str(file["facts"]))
                values = [file[f"v{number}"] for number in range(count)]
                best = [file[f"k{number}"] for number in range(kept)] if facts["waited"] else values[:kept]
        except (OSError, ValueError, KeyError):
            return {}, [], []
        return facts, values, best
