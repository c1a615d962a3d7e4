"""‖w‖₁ of the kernels that make a unit."""

from typing import Any

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.passes.base import Context
from kcompress.passes.prune.criteria._criterion import Criterion
from kcompress.passes.prune.criteria._kernels import WEIGHTS, per_unit
from kcompress.passes.prune.criteria._tally import Tally


class L1(Criterion):
    """The l1 norm of the kernels that make a unit, all filters that go with it in one kernel taken together.

    Source: Li, Kadav, Durdanovic, Samet and Graf, "Pruning Filters for Efficient ConvNets", 2017.
    """

    looks_at = WEIGHTS
    place = 10

    def collect(self, tally: Tally, model: Any, channels: Channels, ctx: Context, samples: int) -> None:
        for units, sums in per_unit(model, channels, np.abs):
            tally.add(units, sums)
