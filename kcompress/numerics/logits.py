"""Outputs as logits, and how far two of them are apart: Σ (ŷ − y)² / Σ y².

Logits of classes are told apart from each other only: their mean is taken off, so that probabilities, their logarithms
and the logits behind them give the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TINY, UNIT = 1e-30, 1e-7
"""The least probability that a softmax and a sigmoid are taken to have given."""


def logits(output: Array, form: str) -> Array:
    """The logits behind an output, float64, of the same shape; other values as they are.

    `form` tells what it holds: logits or probabilities of classes along the last axis, sigmoid or binary_logits for
    single questions, else values.
    """
    values = np.asarray(output, np.float64)
    if form == "sigmoid":
        values = np.clip(values, UNIT, 1 - UNIT)
        return np.asarray(np.log(values) - np.log1p(-values))
    if form == "probabilities":
        values = np.log(np.maximum(values, TINY))
    if form in ("probabilities", "logits"):
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
