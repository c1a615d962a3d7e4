"""By what structured pruning ranks units: one score for each, the lowest goes first.

A unit's score is put together over the whole coupled group, from every layer that makes its channels or every place
that reads them, and then divided by the mean over the units that it is ranked with, so that groups compare.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.channels.identities import Ids
from kcompress.channels.reading import read
from kcompress.data import Dataset
from kcompress.errors import DataError, UsageError
from kcompress.passes.base import Context
from kcompress.passes.prune._readings import activations, taylor
from kcompress.passes.prune._tally import Tally, Values, relative
from kcompress.passes.prune._weights import distances, norms, scales

CRITERIA = ("l1", "l2", "batchnorm", "activation", "zeros", "taylor", "geometric_median", "random")
BY_DATA = ("activation", "zeros", "taylor")
"""Those that look at samples; taylor wants labels too."""


def score(criterion: str, model: Any, channels: Channels, groups: Sequence[Ids], ctx: Context, samples: int) -> Values:
    """Scores of all units (units,), float64, none negative, of mean 1 in each group unless all of it are zero.

    NaN stands for a unit that is in no group, and with batchnorm for one without a batch normalization that has a
    scale. What data tell of is the places that read a unit (`graph.reading`). Where it is only read otherwise, as are
    the widths of keys that differ from those of values, its score is that of l2; where it is not read at all, zero.

    Args:
        criterion: one of CRITERIA.
        model: what `channels` was made of; it is left alone.
        channels: whose units are scored.
        groups: the numbers of units that are ranked together; each is in at most one group.
        ctx: its seed is used for random, its calibration data for activation and zeros, its training data for taylor.
        samples: how many samples to look at, at most.

    Raises:
        UsageError: there are no data of the kind that the criterion wants.
        DataError: the data do not fit the model, or give values that are not finite.
        ModelError: weights are not finite.
    """
    tally = Tally(channels.units.count, groups)
    if criterion in ("l1", "l2"):
        norms(model, channels, tally, int(criterion[1]))
    elif criterion == "batchnorm":
        scales(model, channels, tally)
    elif criterion == "geometric_median":
        distances(model, channels, tally)
    elif criterion == "random":
        every = np.arange(channels.units.count)
        tally.add(every, np.random.default_rng(ctx.seed).random(len(every)))
    else:
        data = _data(criterion, ctx)
        try:
            if criterion == "taylor":
                taylor(model, channels, tally, data, samples)
            else:
                activations(model, channels, tally, data, samples, zeros=criterion == "zeros")
        except DataError as error:
            raise DataError(f"prune.structured: criterion={criterion}: {error}") from error
    scores = tally.scores()
    return _completed(scores, model, channels, groups, ctx) if criterion in BY_DATA else scores


def _data(criterion: str, ctx: Context) -> Dataset:
    taylors = criterion == "taylor"
    data = ctx.data.training if taylors else ctx.data.calibration
    wanted = "training data with labels" if taylors else "calibration data"
    if data is None:
        raise UsageError(
            f"prune.structured: criterion={criterion} needs {wanted}, and there are none; give them with --data, "
            "or take a criterion that needs none, such as l2"
        )
    if taylors and not data.labelled:
        raise UsageError(
            f"prune.structured: criterion={criterion} needs {wanted}, and {data.name} has no labels; give an array y, "
            "or take a criterion that needs none, such as activation"
        )
    return data


def _completed(scores: Values, model: Any, channels: Channels, groups: Sequence[Ids], ctx: Context) -> Values:
    """Scores of the units in groups of which no place tells, in the place of NaN."""
    members = np.concatenate([np.zeros(0, np.intp), *groups])
    missing = members[np.isnan(scores[members])]
    if not len(missing):
        return scores
    norm = score("l2", model, channels, groups, ctx, 0)
    unread = ~np.isin(missing, list(read(channels)))
    scores = scores.copy()
    scores[missing] = np.where(unread, 0, norm[missing])
    group_of = np.full(len(scores), -1)
    for number, each in enumerate(groups):
        group_of[each] = number
    return np.where(group_of < 0, np.nan, relative(scores, group_of))
