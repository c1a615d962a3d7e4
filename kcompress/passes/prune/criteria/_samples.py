"""Criteria that look at samples: the inputs in which layers read a unit."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.channels.identities import Ids
from kcompress.channels.summed_inputs import units_read
from kcompress.data import Dataset
from kcompress.errors import DataError, UsageError
from kcompress.passes.base import Context, Need
from kcompress.passes.prune.criteria._criterion import Criterion
from kcompress.passes.prune.criteria._tally import Tally, Values, relative
from kcompress.passes.prune.criteria.l2 import L2


class SampleCriterion(Criterion):
    """Base of the criteria that look at samples.

    They score the inputs in which layers read a unit (`channels.summed_inputs`). A unit that is only read in another
    way, such as the width of keys that differs from that of values, gets its score by l2; one that is not read gets
    zero.
    """

    needs = Need.CALIBRATION

    def data(self, ctx: Context) -> Dataset:
        """The samples to look at; UsageError if there are none."""
        return self.given(ctx.data.calibration, "calibration data")

    def given(self, data: Dataset | None, wanted: str) -> Dataset:
        if data is None:
            raise UsageError(
                f"prune.structured: criterion={self.title()} needs {wanted}, and there are none; give them with "
                "--data, or take a criterion that needs none, such as l2"
            )
        return data

    @abstractmethod
    def observe(self, tally: Tally, model: Any, channels: Channels, data: Dataset, samples: int) -> None:
        """Add to the tally the values that each input gives its units, on at most so many samples."""

    def collect(self, tally: Tally, model: Any, channels: Channels, ctx: Context, samples: int) -> None:
        data = self.data(ctx)
        try:
            self.observe(tally, model, channels, data, samples)
        except DataError as error:
            raise DataError(f"prune.structured: criterion={self.title()}: {error}") from error

    def scores(self, model: Any, channels: Channels, groups: Sequence[Ids], ctx: Context, samples: int) -> Values:
        scores = super().scores(model, channels, groups, ctx, samples)
        members = np.concatenate([np.zeros(0, np.intp), *groups])
        missing = members[np.isnan(scores[members])]
        if not len(missing):
            return scores
        norm = L2().scores(model, channels, groups, ctx, 0)
        unread = ~np.isin(missing, list(units_read(channels)))
        scores = scores.copy()
        scores[missing] = np.where(unread, 0, norm[missing])
        group_of = np.full(len(scores), -1)
        for number, each in enumerate(groups):
            group_of[each] = number
        return np.where(group_of < 0, np.nan, relative(scores, group_of))


def not_finite(what: str, data: Dataset) -> DataError:
    """The error for values that are not finite."""
    return DataError(f"{what} is not finite on the samples of {data.name}; give data like the training data")
