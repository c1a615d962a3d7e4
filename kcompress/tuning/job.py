"""What the candidates of a search have in common; workers in other processes get it as JSON."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kcompress.cache import digest_of
from kcompress.codec import plain
from kcompress.data import Dataset, Splits, resolve
from kcompress.errors import DataError, UsageError
from kcompress.passes.capabilities import TrainsModel
from kcompress.run.options import Budgets
from kcompress.tuning.options import EFFORT
from kcompress.tuning.template import Template

DATA = ("data", "calibration", "test", "validation")


JUDGED = 10_000
"""The most samples that a candidate is judged by."""


def at_most(data: Dataset, samples: int) -> Dataset:
    """Every fifth sample as often as it takes to be near this number."""
    while (data.samples or 0) > samples:
        data = data.train_test_split()[1]
    return data


@dataclass(frozen=True)
class Job:
    """All that a candidate depends on besides its values; `effort` is the share of the training that it gets."""

    source: Path
    suffix: str
    template: Template
    limits: Budgets
    data: Any = None
    calibration: Any = None
    test: Any = None
    validation: Any = None
    teachers: tuple[Path, ...] = ()
    combine: Any = None
    metric: str | None = None
    seed: int = 0
    batch: int | None = None
    trust: tuple[str, ...] = ()
    effort: float = EFFORT
    identity: str = ""
    """What tells the model from others where its file does not, for that of an object is another each time."""
    smallest: bool = True
    """Whether the smallest file is looked for, so that one larger than the best so far need not be finished."""

    @property
    def seen(self) -> bool:
        """Whether the source may have been trained on what trials are judged on."""
        return self.validation is None

    @property
    def shortened(self) -> bool:
        """Whether a trial trains less than what is written in the end."""
        passes = self.template.passes(self.template.middle())
        return self.effort < 1 and any(isinstance(each, TrainsModel) for each in passes)

    def to_json(self) -> dict[str, Any]:
        """As plain data; UsageError for data that is no SPEC, which other processes can't read."""
        for name in DATA:
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, Path)):
                raise UsageError(
                    f"{name} is a {type(value).__name__}, which other processes can't read; give the name of a file or "
                    "folder or MODULE:FUNCTION, or one worker in this process"
                )
        teachers = tuple(path.absolute() for path in self.teachers)
        document: dict[str, Any] = plain(replace(self, source=self.source.absolute(), teachers=teachers))
        return document

    def splits(self) -> Splits:
        """The data of the trials: what they are judged on in place of the test data.

        That is the validation data, or a fifth of the training data, or at most so many samples. Raises DataError where
        nothing can be set apart, or where that is test data.
        """
        splits = resolve(self.data, self.calibration, self.test)
        training = splits.training
        assert training is not None
        if self.validation is not None:
            judged = resolve(test=self.validation).test
            assert judged is not None
            for name, other in (("test", splits.test), ("training", training)):
                if other is not None and other.overlaps(judged):
                    raise DataError(
                        f"{judged.name}: the same samples were given as validation and {name} data; give other "
                        "validation data, or leave it out to set a fifth of the training data apart"
                    )
        else:
            training, judged = training.train_test_split()
        judged = at_most(judged, JUDGED)
        calibration = splits.calibration
        if calibration is None or calibration.overlaps(judged):
            calibration = training
        return Splits(training, calibration, judged)

    def name(self, more: object = None) -> str:
        """The name of the study: the same for the same job on the same content, and for nothing else."""
        from kcompress import __version__

        splits = self.splits()
        data = (splits.training, splits.calibration, splits.test)
        content = [
            self.identity or digest_of(self.source),
            *map(digest_of, self.teachers),
            *(each.fingerprint() for each in data if each is not None),
        ]
        settings = [
            self.suffix,
            self.limits.model_dump(),
            self.combine,
            self.metric,
            self.seed,
            self.batch,
            self.effort,
        ]
        text = json.dumps([__version__, content, self.template.text(), settings, more])
        return f"kcompress-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
