"""What a run is about to do, once its source was read: data that fits the model, teachers, where it trains."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompress.cache import digest_of
from kcompress.data import Splits
from kcompress.errors import ModelError
from kcompress.formats import Format, find
from kcompress.hosts import ProcessGroup
from kcompress.model.cost import macs
from kcompress.model.view import nodes, parameters
from kcompress.progress import Hooks
from kcompress.run.resume import Resume

if TYPE_CHECKING:
    from kcompress.passes.base import Pass
    from kcompress.training.distribution import Devices
    from kcompress.training.teachers import Teacher


@dataclass(frozen=True)
class RunInput:
    """What a run is given, checked as far as that goes without a backend."""

    source: Path
    file_format: Format
    """The format of what is written."""
    passes: "tuple[Pass, ...]"
    data: Splits
    teachers: tuple[Path, ...] = ()
    """Models to learn from; the source without them."""
    metric: str | None = None
    seed: int = 0
    trust: tuple[str, ...] = ()
    hooks: Hooks = field(default_factory=Hooks)


@dataclass(frozen=True)
class Prepared:
    """A run whose source was read. The model itself is not in it, so that it can be freed behind the first pass."""

    given: RunInput
    data: Splits
    """The data as the model takes it."""
    metric: Any
    teachers: "tuple[Teacher, ...]"
    parameters: int
    """Those of the source."""
    macs: int | None
    """Multiply-adds of the source for one sample; None if an input size is open."""
    resume: Resume | None
    """What an earlier run of the same kept; None for a run that keeps nothing."""
    group: ProcessGroup
    devices: "Devices"

    def variant(self, passes: "Sequence[Pass]", hooks: Hooks) -> "Prepared":
        """The same with other passes, which need no more than its own; it keeps nothing on disk."""
        return replace(self, given=replace(self.given, passes=tuple(passes), hooks=hooks), resume=None)


def prepare(
    given: RunInput, model: Any, group: ProcessGroup | None = None, distribute: str | None = None, seconds: float = 0.0
) -> Prepared:
    """Check that data, labels and teachers fit the source, and that all processes are about to do the same.

    Args:
        given: what the run was given.
        model: the source, as `read_model` gives it.
        group: the processes that train together.
        distribute: what devices divide in training: data or model; one device without it.
        seconds: how long to wait for the other processes.
    """
    from kcompress.formats.keras.runner import KerasRunner
    from kcompress.measure import quality, scoring
    from kcompress.passes.base import Need
    from kcompress.training.distribution import devices
    from kcompress.training.teachers import Teacher, check_teacher

    group = group or ProcessGroup()
    runner = KerasRunner(model)
    metric = None if given.metric is None else scoring.metric_named(given.metric)
    data = given.data.fit_to(runner.inputs)
    if data.test is not None:
        quality.check_labels(runner, data.test, metric)
    identity = [_version(), digest_of(given.source), str(given.seed), given.file_format.name]
    if any(each.needs for each in given.passes):
        identity += [each.fingerprint() for each in (data.training, data.calibration) if each is not None]
    teachers: tuple[Teacher, ...] = ()
    if any(Need.TEACHER in each.needs for each in given.passes):
        paths = [path for path in given.teachers or (given.source,) if path.is_file()]
        teachers = tuple(Teacher.from_file(path, given.trust) for path in paths)
        identity += [teacher.digest for teacher in teachers]
        for teacher in teachers:
            if teacher.name != str(given.source):
                check_teacher(teacher.name, teacher.load(), model)
    resume, placed = Resume(identity, given.passes), devices(distribute)
    group.check_equal("model, recipe, seed or data", resume.key, seconds)
    if distribute is not None:
        others = f" of {group.processes} processes" if group.processes > 1 else ""
        given.hooks.log(f"training on {placed.count} devices{others}{placed.remark}")
    return Prepared(given, data, metric, teachers, parameters(model), macs(model), resume, group, placed)


def read_model(path: Path, trust: Sequence[str], hooks: Hooks) -> Any:
    """The model in a file; ModelError or UnsafeError, with one line, if it can't be read or a weight is not finite."""
    with hooks.progress(f"reading {path.name}", None):
        model = find(path).read(path, trust)
        _check_weights(path, model)
    return model


def _check_weights(path: Path, model: Any) -> None:
    """ModelError naming the first weight that is not a finite number."""
    for node in nodes(model):
        for weight in node.weights:
            values = weight.values
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                kind = "NaN" if np.isnan(values).any() else "infinity"
                raise ModelError(f"{path}: {node.qualified(weight)} holds {kind}; train or repair the model first")


def _version() -> str:
    from kcompress import __version__

    return __version__
