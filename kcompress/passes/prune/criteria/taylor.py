"""E|Σ x · ∂L/∂x| with the sum over all inputs, and positions in them, in which layers read a unit of a sample."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.masks import masked
from kcompress.channels.summed_inputs import SummedInput, summed_inputs
from kcompress.data import Dataset
from kcompress.errors import UsageError
from kcompress.model.gradients import gradients
from kcompress.model.observe import outputs
from kcompress.model.signature import Signature, signature
from kcompress.passes.base import Context, Need
from kcompress.passes.prune.criteria._samples import SampleCriterion, not_finite
from kcompress.passes.prune.criteria._tally import Tally, totals
from kcompress.passes.statistics import BATCH
from kcompress.training.labelled import Labelled, labelled
from kcompress.training.losses.model_loss import Loss, loss_for

VALUES = 2**27
"""Elements of tensors between layers that are kept for a gradient at once, about: 512 MiB in float32."""


class Taylor(SampleCriterion):
    """To first order, the change of the loss when all weights that read a unit are zeroed.

    Sources: Molchanov, Tyree, Karras, Aila and Kautz, "Pruning Convolutional Neural Networks for Resource Efficient
    Inference", 2017; Molchanov, Mallya, Tyree, Frosio and Kautz, "Importance Estimation for Neural Network Pruning",
    2019.
    """

    looks_at = "Gradient times activation on labelled data"
    place = 60
    needs = Need.TRAINING

    def data(self, ctx: Context) -> Dataset:
        wanted = "training data with labels"
        data = self.given(ctx.data.training, wanted)
        if not data.labelled:
            raise UsageError(
                f"prune.structured: criterion={self.title()} needs {wanted}, and {data.name} has no labels; give an "
                "array y, or take a criterion that needs none, such as activation"
            )
        return data

    def observe(self, tally: Tally, model: Any, channels: Channels, data: Dataset, samples: int) -> None:
        loss, sign, found = loss_for(model, data), signature(model), summed_inputs(model, channels)
        sums, known, count = np.zeros(channels.units.count), np.zeros(channels.units.count, bool), 0
        for batch in labelled(model, data, batch_size(channels), samples):
            loss.check(data.name, sign.outputs, batch.labels)
            slopes, reached = _slopes(model, sign, found, loss, batch)
            effects = np.zeros((channels.units.count, batch.samples))
            for number in reached:
                if not np.isfinite(slopes[number]).all():
                    raise not_finite(f"the gradient of the loss at layer '{found[number].node.name}'", data)
                units, parts = totals(channels.units, found[number].ids, slopes[number][: batch.samples].T)
                effects[units] += parts
                known[units] = True
            sums += np.abs(effects).sum(1)
            count += batch.samples
        tally.add(np.flatnonzero(known), sums[known] / max(count, 1))


def batch_size(channels: Channels) -> int:
    """As many samples, up to BATCH, as have no more values between layers than VALUES, or one."""
    each = sum(math.prod(size or 1 for size in shape[1:]) for shape in channels.flow.shapes.values())
    return max(1, min(BATCH, VALUES // each))


def _slopes(
    model: Any, sign: Signature, found: Sequence[SummedInput], loss: Loss, batch: Labelled
) -> tuple[list[NDArray[Any]], set[int]]:
    """Derivatives of the summed loss of a batch by the masks of all inputs, and the inputs that were masked."""
    import keras

    rows = len(next(iter(batch.inputs.values())))
    reached: set[int] = set()

    def summed(masks: list[Any]) -> Any:
        with masked(found, masks) as now:
            values = loss(batch.labels, outputs(model, sign, batch.inputs))
        reached.update(now)
        return keras.ops.sum(values)

    _, slopes = gradients(summed, [np.ones((rows, len(each.ids)), np.float32) for each in found])
    return slopes, reached
