"""Scores kept between analyses: one small file for each level of a field, found by all that went into it."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kcompress.analysis.probe import Reference, Score
from kcompress.cache import digest_of, root
from kcompress.data import Splits
from kcompress.passes.capabilities import Layers

ABOUT = "about.json"


def key_of(source: Path, splits: Splits) -> str:
    """What identifies a model file and the data that is looked at with it; OSError without the file."""
    data = [each.fingerprint() for each in (splits.training, splits.calibration) if each is not None]
    return "\n".join([digest_of(source), *data])


@dataclass(frozen=True)
class Level:
    """What is known of one level: for each of the layers the score, None where it was not run; and reasons to skip."""

    scores: dict[Layers, Score | None]
    skipped: Mapping[str, str]


class Kept:
    """The scores of one model on one set of samples; without a key, or a folder to write to, of nothing."""

    def __init__(self, key: str | None, samples: int, seed: int, metric: str | None) -> None:
        from keras import backend

        from kcompress import __version__

        self._folder: Path | None = None
        if key is not None:
            identity = [__version__, backend.backend(), str(samples), str(seed), metric or "", key]
            digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()
            self._folder = root() / f"sensitivity-{digest[:32]}"
            with contextlib.suppress(OSError):
                os.utime(self._folder)  # so that what is used is not taken for old

    def reference(self) -> Reference | None:
        found = self._read(ABOUT)
        return None if found is None else Reference(**found)

    def keep_reference(self, reference: Reference) -> None:
        self._write(ABOUT, asdict(reference))

    def level(self, field: str, value: float) -> Level | None:
        """What is known of a level, if anything is."""
        found = self._read(_name(field, value))
        if found is None:
            return None
        scores = {tuple(layers): None if score is None else Score(*score) for layers, score in found["scores"]}
        return Level(scores, found["skipped"])

    def keep_level(self, field: str, value: float, level: Level) -> None:
        scores = [
            [layers, None if score is None else [score.distortion, score.drop, score.agreement]]
            for layers, score in level.scores.items()
        ]
        self._write(_name(field, value), {"scores": scores, "skipped": level.skipped})

    def _read(self, name: str) -> Any:
        with contextlib.suppress(OSError, ValueError):
            return None if self._folder is None else json.loads((self._folder / name).read_text())
        return None

    def _write(self, name: str, document: Any) -> None:
        """Whole or not at all."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, draft = tempfile.mkstemp(dir=self._folder)
            try:
                with os.fdopen(descriptor, "w") as stream:
                    json.dump(document, stream)
                Path(draft).replace(self._folder / name)
            except BaseException:
                Path(draft).unlink(missing_ok=True)
                raise


def _name(field: str, value: float) -> str:
    return f"{field.replace(':', '-')}-{value:.9g}.json"
