"""By what structured pruning ranks units: one score for each, the lowest goes first.

A unit's score is put together over the whole coupled group, from every layer that makes its channels or every place
that reads them, and then divided by the mean over the units that it is ranked with, so that groups compare.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompress.graph.channels import Channels
from kcompress.graph.identities import Ids
from kcompress.graph.reading import read
from kcompress.passes.base import Context
from kcompress.passes.prune._outputs import activations, effects
from kcompress.passes.prune._tally import Tally, Values
from kcompress.passes.prune._weights import distances, norms, scales

CRITERIA = ("l1", "l2", "batchnorm", "activation", "zeros", "taylor", "geometric_median", "random")


def score(criterion: str, model: Any, channels: Channels, groups: Sequence[Ids], ctx: Context, samples: int) -> Values:
    """Scores of all units (units,), float64, of mean 1 in each group unless all of it are zero.

    NaN stands for a unit that is in no group, and with batchnorm for one without a batch normalization that has a
    scale. What only a recurrent layer's own state or a product of two tensors reads can't be seen: activation, zeros
    and taylor go by the l2 norm of its weights.

    Args:
        criterion: one of CRITERIA.
        model: what `channels` was made of.
        channels: whose units are scored.
        groups: the numbers of units that are ranked together; each is in at most one group.
        ctx: its seed and data are used.
        samples: how many samples to look at, at most.

    Raises:
        DataError: data is missing, does not fit, or gives what is not finite.
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
        if criterion == "taylor":
            effects(model, channels, tally, ctx.data.training, samples)
        else:
            activations(model, channels, tally, ctx.data.calibration, samples, zeros=criterion == "zeros")
        return _filled(tally.scores(), model, channels, groups)
    return tally.scores()


def _filled(scores: Values, model: Any, channels: Channels, groups: Sequence[Ids]) -> Values:
    """Scores where nothing that was seen reads a unit: 0 if nothing reads it at all, else the norm of its weights."""
    norm = Tally(channels.units.count, groups)
    norms(model, channels, norm, 2)
    scores = np.where(np.isnan(scores), norm.scores(), scores)
    unread = np.ones(channels.units.count, bool)
    unread[list(read(channels))] = False
    scores[unread] = 0.0
    return scores
