"""E|x| of what is read of a unit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.passes.prune.criteria._outputs import OutputCriterion


class Activation(OutputCriterion):
    """The mean magnitude of what is read of a unit, over calibration samples and positions."""

    place = 40

    def sums(self, x: NDArray[np.float32], over: tuple[int, ...]) -> NDArray[Any]:
        return np.asarray(np.abs(x).sum(over, dtype=np.float64))
