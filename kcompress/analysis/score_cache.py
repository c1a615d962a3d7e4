"""A cache of scores between analyses: one small file for each level of a field.

Its folder is named by everything that the scores depend on besides field and level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kcompress import cache
from kcompress.analysis.probe import Reference, Score
from kcompress.cache import digest_of
from kcompress.data import Splits
from kcompress.passes.capabilities import Layers

Kind = TypeVar("Kind")
ABOUT = "about.json"


def key_of(source: Path, splits: Splits) -> str:
    """The cache key of a model file and the data of an analysis; OSError without the file."""
    data = [each.fingerprint() for each in (splits.training, splits.calibration) if each is not None]
    return cache.key(digest_of(source), *data)


@dataclass(frozen=True)
class LevelScores:
    """For one level of a field, the score of each layer, None where it was not run, and why layers were skipped."""

    scores: dict[Layers, Score | None]
    skipped: Mapping[str, str]


@dataclass(frozen=True)
class JsonLevel:
    """`LevelScores` as a file holds it, since a key of JSON can't be the names of several layers."""

    scores: tuple[tuple[Layers, Score | None], ...]
    skipped: dict[str, str]


class ScoreCache:
    """The scores of one model on one set of samples. It stays empty without a key or a folder to write to."""

    def __init__(self, key: str | None, samples: int, seed: int, metric: str | None) -> None:
        from keras import backend

        from kcompress import __version__

        self._folder: Path | None = None
        if key is not None:
            own = cache.key(__version__, backend.backend(), samples, seed, metric, key)
            self._folder = cache.entry(f"sensitivity-{own}")

    def reference(self) -> Reference | None:
        return self._read(Reference, ABOUT)

    def store_reference(self, reference: Reference) -> None:
        if self._folder is not None:
            cache.write(self._folder / ABOUT, reference)

    def level(self, field: str, value: float) -> LevelScores | None:
        """The scores of a level; None if it was not measured."""
        found = self._read(JsonLevel, _name(field, value))
        return None if found is None else LevelScores(dict(found.scores), found.skipped)

    def store_level(self, field: str, value: float, level: LevelScores) -> None:
        if self._folder is not None:
            stored = JsonLevel(tuple(level.scores.items()), dict(level.skipped))
            cache.write(self._folder / _name(field, value), stored)

    def _read(self, kind: type[Kind], name: str) -> Kind | None:
        return None if self._folder is None else cache.read(kind, self._folder / name)


def _name(field: str, value: float) -> str:
    return f"{field.replace(':', '-')}-{value:.9g}.json"
