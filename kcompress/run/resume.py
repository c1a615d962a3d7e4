"""What finished passes made, kept until the run is done, so that a run that was killed goes on after its last pass.

An entry is found again by everything that went into it: version, source, seed, target, data, and the settings of every
pass up to it, with the content of files they name.
"""

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress.cache import digest_of, root
from kcompress.passes.capabilities import ReadsModels
from kcompress.quantization.plan import QuantPlan
from kcompress.report.report import Budget, PassRecord

if TYPE_CHECKING:
    from kcompress.passes.base import Pass

MODEL, RECORD = "model.keras", "record.json"
UNFINISHED = "-unfinished"
MAX_AGE_SECONDS = 14 * 24 * 3600.0


class Resume:
    """The entries of one run. Every method does nothing where the folder cannot be written."""

    def __init__(self, identity: Sequence[str], steps: "Sequence[Pass]") -> None:
        self._keys = []
        digest = hashlib.sha256("\n".join(identity).encode())
        for step in steps:
            named = [digest_of(path) for path in (step.model_files() if isinstance(step, ReadsModels) else ())]
            digest.update(json.dumps([step.name, step.config(), *named], sort_keys=True).encode())
            self._keys.append(digest.hexdigest()[:32])

    @property
    def key(self) -> str:
        """What identifies the whole run."""
        return self._keys[-1] if self._keys else ""

    def find(self, most: int | None = None) -> tuple[int, Any, QuantPlan, list[PassRecord]]:
        """Number of passes done, with the model, plan and records after them; (0, None, ...) if there are none.

        With `most`, an entry after more passes is none.
        """
        from kcompress.formats.keras.format import load

        for done in range(len(self._keys) if most is None else most, 0, -1):
            entry = root() / self._keys[done - 1]
            try:
                document = json.loads((entry / RECORD).read_text())
                model = load(entry / MODEL)
            except (OSError, ValueError):
                continue
            records = [_record(item) for item in document["records"]]
            return done, model, QuantPlan.from_json(document["plan"]), records
        return 0, None, QuantPlan(), []

    def keep(self, done: int, model: Any, plan: QuantPlan, records: Sequence[PassRecord]) -> None:
        """Store the state after `done` passes, whole or not at all, and drop the one before."""
        from kcompress.formats import WriteOptions
        from kcompress.formats.keras.format import Keras

        with contextlib.suppress(OSError):
            root().mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="new-", dir=root()))
            try:
                Keras().write(model, plan, folder / MODEL, WriteOptions(compression="none"))
                document = {"plan": plan.to_json(), "records": [asdict(record) for record in records]}
                (folder / RECORD).write_text(json.dumps(document))
                folder.rename(root() / self._keys[done - 1])
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
            self._drop(self._keys[: done - 1])
            shutil.rmtree(self.unfinished(done), ignore_errors=True)

    def unfinished(self, number: int) -> Path:
        """A folder for what pass `number`, counted from 1, has done so far; not necessarily there yet."""
        return root() / f"{self._keys[number - 1]}{UNFINISHED}"

    def clear(self) -> None:
        """The run is done: drop its entries, and those of other runs that nobody came back to for 14 days."""
        self._drop(self._keys)
        with contextlib.suppress(OSError):
            for entry in root().iterdir():
                if time.time() - entry.stat().st_mtime > MAX_AGE_SECONDS:
                    shutil.rmtree(entry, ignore_errors=True)

    @staticmethod
    def _drop(keys: Sequence[str]) -> None:
        for key in keys:
            shutil.rmtree(root() / key, ignore_errors=True)
            shutil.rmtree(root() / f"{key}{UNFINISHED}", ignore_errors=True)


def _record(item: dict[str, Any]) -> PassRecord:
    budgets = tuple(Budget(**budget) for budget in item["budgets"])
    lists = {key: tuple(item[key]) for key in ("changed", "skipped", "declined", "history")}
    return PassRecord(**{**item, **lists, "budgets": budgets})
