"""Scores by chance, to compare other criteria with."""

from typing import Any

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.passes.base import Context
from kcompress.passes.prune.criteria._criterion import Criterion
from kcompress.passes.prune.criteria._tally import Tally


class Random(Criterion):
    """A random number for each unit, by the seed of the run."""

    looks_at = "Chance"
    place = 80

    def collect(self, tally: Tally, model: Any, channels: Channels, ctx: Context, samples: int) -> None:
        every = np.arange(channels.units.count)
        tally.add(every, np.random.default_rng(ctx.seed).random(len(every)))
