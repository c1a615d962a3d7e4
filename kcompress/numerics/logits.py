"""Outputs as logits, and how far two of them are apart: Σ (ŷ − y)² / Σ y².

Only differences between the logits of classes matter, so their mean is subtracted. Probabilities, their logarithms and
the logits that they come from then give the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TINY, UNIT = 1e-30, 1e-7
"""The least probability that a softmax and a sigmoid are taken to have given."""


def logits(output: Array, kind: str) -> Array:
    """The logits that an output was made of, float64, of the same shape; other values as they are.

    `kind` says what the output holds: logits or probabilities (of classes along the last axis), sigmoid or
    binary_logits (of yes-or-no questions), else values.
    """
    values = np.asarray(output, np.float64)
    if kind == "sigmoid":
        values = np.clip(values, UNIT, 1 - UNIT)
        return np.asarray(np.log(values) - np.log1p(-values))
    if kind == "probabilities":
        values = np.log(np.maximum(values, TINY))
    if kind in ("probabilities", "logits"):
        values = values - values.mean(-1, keepdims=True)
    return values


def ratio(noise: float, signal: float) -> float:
    """noise / signal; infinite where it is no finite number, 0 where there is neither.

    >>> ratio(1.0, 4.0), ratio(0.0, 0.0), ratio(1.0, 0.0)
    (0.25, 0.0, inf)
    """
    if noise == 0:
        return 0.0
    return noise / signal if np.isfinite(noise) and signal > 0 else float("inf")
