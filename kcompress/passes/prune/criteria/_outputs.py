"""Criteria that average the values in which layers read a unit, over samples and positions of calibration data."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.channels import Channels
from kcompress.channels.summed_inputs import by_layer, summed_inputs
from kcompress.data import Dataset
from kcompress.model.observe import run, to_arrays
from kcompress.model.view import Node
from kcompress.passes.prune.criteria._samples import SampleCriterion, not_finite
from kcompress.passes.prune.criteria._tally import Tally, totals
from kcompress.passes.statistics import batches


class OutputCriterion(SampleCriterion):
    """Base of the criteria that average something over what is read of a unit."""

    looks_at = "Their outputs on calibration data, by mean magnitude or share of zeros"

    @abstractmethod
    def sums(self, x: NDArray[np.float32], over: tuple[int, ...]) -> NDArray[Any]:
        """The quantity that is averaged, summed over these axes of a layer's input."""

    def observe(self, tally: Tally, model: Any, channels: Channels, data: Dataset, samples: int) -> None:
        found = summed_inputs(model, channels)
        numbers = by_layer(found)
        sums, counts = [np.zeros(len(each.ids)) for each in found], [0] * len(found)

        def seen(node: Node, given: Mapping[str, Any], _result: Any) -> None:
            for number in numbers[id(node.layer)]:
                x = np.asarray(to_arrays(given[found[number].argument]), np.float32)
                if not np.isfinite(x.sum(dtype=np.float64)):
                    raise not_finite(f"what goes into layer '{node.name}'", data)
                axis = found[number].axis % x.ndim
                sums[number] += self.sums(x, tuple(other for other in range(x.ndim) if other != axis))
                counts[number] += x.size // x.shape[axis]

        run(model, batches(model, data, samples), [found[first].node for first, *_ in numbers.values()], seen)
        for each, total, count in zip(found, sums, counts, strict=True):
            if count:
                units, parts = totals(channels.units, each.ids, np.stack([total / count, np.ones_like(total)], axis=1))
                tally.add(units, parts[:, 0] / parts[:, 1])
