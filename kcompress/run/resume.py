"""What finished passes made, kept until the run is done, so that a run that was killed goes on after its last pass.

An entry is found again by everything that went into it: version, source, seed, target, data, and the settings of every
pass up to it, with the content of files they name.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress import cache
from kcompress.passes.capabilities import ReadsModels
from kcompress.quantization.plan import QuantPlan
from kcompress.report.report import PassRecord

if TYPE_CHECKING:
    from kcompress.passes.base import Pass

MODEL, RECORD = "model.keras", "record.json"
UNFINISHED = "-unfinished"


@dataclass(frozen=True)
class Progress:
    """What is kept beside a model: how it is to be stored, and a record of each pass so far."""

    plan: QuantPlan
    records: tuple[PassRecord, ...]


class Resume:
    """The entries of one run. Every method does nothing where the folder cannot be written."""

    def __init__(self, identity: Sequence[str], passes: "Sequence[Pass]") -> None:
        self._keys: list[str] = []
        settings: list[Any] = []
        for each in passes:
            files = each.model_files() if isinstance(each, ReadsModels) else ()
            settings.append([each.name, each.config(), *map(cache.digest_of, files)])
            self._keys.append(cache.key(list(identity), settings))

    @property
    def key(self) -> str:
        """What identifies the whole run."""
        return self._keys[-1] if self._keys else ""

    def find(self, most: int | None = None) -> tuple[int, Any, QuantPlan, tuple[PassRecord, ...]]:
        """Number of passes done, with the model, plan and records after them; (0, None, ...) if there are none.

        With `most`, an entry after more passes is none.
        """
        from kcompress.formats.keras.format import load

        for done in range(len(self._keys) if most is None else most, 0, -1):
            folder = cache.made(self._keys[done - 1])
            if folder is None:
                continue
            with cache.dropping(folder):
                progress = cache.read(Progress, folder / RECORD)
                if progress is None:
                    raise ValueError("it has no record")
                return done, load(folder / MODEL), progress.plan, progress.records
        return 0, None, QuantPlan(), ()

    def keep(self, done: int, model: Any, plan: QuantPlan, records: Sequence[PassRecord]) -> None:
        """Store the state after `done` passes, whole or not at all, and drop the one before."""
        from kcompress.formats import WriteOptions
        from kcompress.formats.keras.format import Keras

        with contextlib.suppress(OSError), cache.making(cache.entry(self._keys[done - 1])) as folder:
            Keras().write(model, plan, folder / MODEL, WriteOptions(compression="none"))
            cache.write(folder / RECORD, Progress(plan, tuple(records)))
        self._drop(self._keys[: done - 1])
        cache.drop(f"{self._keys[done - 1]}{UNFINISHED}")

    def unfinished(self, number: int) -> Path:
        """A folder for what pass `number`, counted from 1, has done so far; not necessarily there yet."""
        return cache.entry(f"{self._keys[number - 1]}{UNFINISHED}")

    def clear(self) -> None:
        """The run is done: drop its entries, and those of other runs that nobody came back to."""
        self._drop(self._keys)
        cache.expire()

    @staticmethod
    def _drop(keys: Sequence[str]) -> None:
        for key in keys:
            cache.drop(key)
            cache.drop(f"{key}{UNFINISHED}")
