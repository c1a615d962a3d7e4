"""The settings of a run, which verbs share; each is declared here and nowhere else."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator

from kcompress.settings import Settings, setting
from kcompress.sizes import parse_count, parse_size
from kcompress.typing import Combination, Distribution


def _listed(value: Any) -> Any:
    """One path, name or pass stands for a list of it."""
    return (value,) if isinstance(value, (str, Path)) else tuple(value) if isinstance(value, list) else value


def _size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


def _count(value: Any) -> Any:
    return None if value is None else parse_count(str(value))


Paths = Annotated[tuple[Path, ...], BeforeValidator(_listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class PassOptions(Settings):
    """What is done to the model."""

    recipe: Path | None = setting(None, metavar="FILE")
    """A recipe: a YAML, TOML or JSON file with a list of passes, which come before the others."""
    passes: Annotated[tuple[Any, ...], BeforeValidator(_listed)] = setting(
        (), option="--apply", metavar="PASS[:field=value,...]"
    )
    """A pass, in order (repeatable)."""


class TrainOptions(Settings):
    """What a model is trained on."""

    data: Any = setting(None, metavar="SPEC")
    """Data with train and test splits: .npz, .npy, a folder, .csv, .parquet or module:function."""


class CalibrationOptions(Settings):
    """What ranges are calibrated on."""

    calibration: Any = setting(None, metavar="SPEC", unset="the train split of --data")
    """Calibration data."""


class TestOptions(Settings):
    """What files are judged on."""

    test: Any = setting(None, metavar="SPEC", unset="the test split of --data")
    """Test data."""


class MetricOptions(Settings):
    """By what files are judged."""

    metric: str | None = setting(None, metavar="NAME", unset="accuracy for class labels, else mean absolute error")
    """The name of a Keras metric."""


class TeacherOptions(Settings):
    """What a model learns from."""

    teachers: Paths = setting((), option="--teacher", metavar="MODEL", unset="the model itself")
    """A saved model to learn from in train.distill (repeatable)."""
    combine: Combination | None = setting(None, metavar="HOW", unset="average")
    """How several teachers become one, where no pass says so itself: average, weighted or stacked."""


class Budgets(Settings):
    """Limits that a run is held to; None where there is none."""

    max_drop: float | None = setting(None, metavar="POINTS", ge=0, le=100)
    """Points of quality that may be lost, such as 1.0."""
    max_size: Annotated[int | None, BeforeValidator(_size)] = setting(None, metavar="SIZE", ge=1)
    """The most bytes that the file may have, such as 250KB."""
    max_latency: float | None = setting(None, metavar="MS", gt=0, allow_inf_nan=False)
    """The most milliseconds for one sample on this machine, at the median, such as 2.5."""
    max_macs: Annotated[int | None, BeforeValidator(_count)] = setting(None, metavar="COUNT")
    """The most multiply-adds for one sample, such as 5M."""

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self.limits)

    def but(self, **changes: Any) -> Self:
        """These with other values, which are not validated."""
        return self.model_copy(update=changes)

    @property
    def limits(self) -> dict[str, float]:
        """Those that were given, by name."""
        values = {name: getattr(self, name) for name in Budgets.model_fields}
        return {name: value for name, value in values.items() if value is not None}


class BatchOptions(Settings):
    """How a file is written."""

    batch: int | None = setting(None, metavar="N", ge=1, unset="dynamic")
    """The batch size to fix in a .tflite or .onnx file, such as 1."""


class SeedOptions(Settings):
    """What makes a run repeatable."""

    seed: int = setting(0, metavar="N")
    """The seed of everything random, a whole number."""


class ReportOptions(Settings):
    """What is written besides a model."""

    reports: Paths = setting((), option="--report", metavar="FILE")
    """A file to write the report to: .json, .md or .html (repeatable)."""
    overwrite: bool = setting(False)
    """Whether files that exist are replaced."""


class TrustOptions(Settings):
    """Whose code may run."""

    trust: Names = setting((), metavar="MODULE")
    """A module whose classes the model may use (repeatable)."""


class RunOptions(
    TrustOptions,
    ReportOptions,
    SeedOptions,
    BatchOptions,
    Budgets,
    TeacherOptions,
    MetricOptions,
    TestOptions,
    CalibrationOptions,
    TrainOptions,
    PassOptions,
):
    """What `compress` and `search` have in common."""


class CompressOptions(RunOptions):
    """The settings of `compress`."""

    strict: bool = setting(False)
    """Whether a layer that a pass or the file could not handle is an error."""
    distribute: Distribution | None = setting(None, metavar="data|model", unset="one device")
    """What all devices divide in training: data, with a copy of the model on each, or model, with large kernels split
    (JAX)."""


class EnsembleOptions(TrustOptions, ReportOptions, SeedOptions, BatchOptions, MetricOptions, TestOptions, TrainOptions):
    """The settings of `ensemble`."""

    how: Combination = setting("average", metavar="HOW")
    """The way that models become one: average, of probabilities or values; weighted, by weights that suit the training
    data best; or stacked, a dense layer on top that is trained on it."""


class CompareOptions(TrustOptions, ReportOptions, MetricOptions):
    """The settings of `compare`."""

    test: Any = setting(None, metavar="SPEC", unset="only size and speed are compared")
    """Test data."""


class InspectOptions(TrustOptions, ReportOptions):
    """The settings of `inspect`."""


class VerifyOptions(TrustOptions, ReportOptions):
    """The settings of `verify`."""

    artifact: Path | None = setting(None, metavar="FILE", unset="where the report says")
    """The file that the report is about."""
    source: Path | None = setting(None, metavar="MODEL", unset="where the report says")
    """The model that it was made from."""
    data: Any = setting(None, metavar="SPEC", unset="the file that the report names")
    """Data with train and test splits, as compress was given them."""
    test: Any = setting(None, metavar="SPEC", unset="the file that the report names")
    """Test data, as compress was given them."""
    tolerance: float = setting(0.1, metavar="POINTS", ge=0, le=100)
    """Points of quality by which two machines may differ."""
