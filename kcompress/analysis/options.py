"""The settings of a sensitivity analysis."""

from typing import Any

from kcompress.run.options import (
    CalibrationOptions,
    MetricOptions,
    Paths,
    ReportOptions,
    SeedOptions,
    TrainOptions,
    TrustOptions,
)
from kcompress.settings import setting


class SensitivityOptions(TrustOptions, ReportOptions, SeedOptions, MetricOptions, CalibrationOptions, TrainOptions):
    """The settings of `sensitivity`."""

    levels: Any = setting((), metavar="PASS:FIELD=LEVEL,...", unset="pruning, channels and bits at several levels")
    """What to try, such as quantize.weights:bits=8,4 (repeatable)."""
    samples: int = setting(512, metavar="N", ge=1)
    """The most samples to look at, such as 512: every fifth of the training split. Test data never is."""
    reports: Paths = setting((), option="--report", metavar="FILE")
    """A file to write the report to: .json, .md, .html, .png or .svg (repeatable)."""
