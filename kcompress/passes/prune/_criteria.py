"""By what structured pruning ranks units: one score for each, the lowest goes first.

A unit's score is put together over the whole coupled group, from every layer that makes its channels or every place
that reads them, and then divided by the mean over the units that it is ranked with, so that groups compare.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompress.graph.channels import Channels
from kcompress.graph.identities import Ids
from kcompress.passes.base import Context
from kcompress.passes.prune._tally import Tally, Values
from kcompress.passes.prune._weights import distances, norms, scales

CRITERIA = ("l1", "l2", "batchnorm", "activation", "zeros", "taylor", "geometric_median", "random")


def score(criterion: str, model: Any, channels: Channels, groups: Sequence[Ids], ctx: Context, samples: int) -> Values:
    """Scores of all units (units,), float64, of mean 1 in each group unless all of it are zero.

    NaN stands for a unit that is in no group, and with batchnorm for one without a batch normalization that has a
    scale.

    Args:
        criterion: one of CRITERIA.
        model: what `channels` was made of.
        channels: whose units are scored.
        groups: the numbers of units that are ranked together; each is in at most one group.
        ctx: its seed and data are used.
        samples: how many samples to look at, at most.
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
    return tally.scores()
