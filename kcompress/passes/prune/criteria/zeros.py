"""P(x ≠ 0) of what is read of a unit, one minus the average percentage of zeros (APoZ)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.passes.prune.criteria._outputs import OutputCriterion


class Zeros(OutputCriterion):
    """The share of what is read of a unit that is not zero, over calibration samples and positions.

    Source: Hu, Peng, Tai and Tang, "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep
    Architectures", 2016.
    """

    place = 50

    def sums(self, x: NDArray[np.float32], over: tuple[int, ...]) -> NDArray[Any]:
        return np.asarray(np.count_nonzero(x, over))
