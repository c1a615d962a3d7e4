"""|γ| of the batch normalizations of a unit."""

from typing import Any

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.model.view import nodes
from kcompress.passes.base import Context
from kcompress.passes.prune.criteria._criterion import Criterion
from kcompress.passes.prune.criteria._kernels import finite
from kcompress.passes.prune.criteria._tally import Tally, totals


class BatchNorm(Criterion):
    """The magnitude of a unit's scale in batch normalization; nothing for one without.

    Source: Liu, Li, Shen, Huang, Yan and Zhang, "Learning Efficient Convolutional Networks through Network Slimming",
    2017.
    """

    looks_at = "Their scale in batch normalization"
    place = 30

    def collect(self, tally: Tally, model: Any, channels: Channels, ctx: Context, samples: int) -> None:
        for node in nodes(model):
            gamma = getattr(node.layer, "gamma", None) if type(node.layer).__name__ == "BatchNormalization" else None
            (ids,) = channels.slices[id(gamma)].axes if id(gamma) in channels.slices else (None,)
            if ids is not None:
                tally.add(*totals(channels.units, ids, np.abs(finite(gamma))))
