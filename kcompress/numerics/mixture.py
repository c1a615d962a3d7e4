"""Weights of several predictions in their mean, fitted to targets; no weight is below 0, and they sum to 1.

Probabilities: the likeliest mixture Σ w_i p_i, by expectation maximization (Dempster, Laird and Rubin, 1977):
w_i ← mean(w_i p_i / Σ_j w_j p_j). Values: the least squared error (Breiman, "Stacked Regressions", 1996), by projected
gradient descent.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ITERATIONS = 2000
TOLERANCE = 1e-9
SMALLEST = 1e-12


def likeliest(probabilities: Array, counts: Array) -> Array:
    """The weights (members,) of the likeliest mixture; the iteration starts from equal weights.

    `probabilities` (members, cases) are those that each member gave to the true class, `counts` (cases,) how often.
    """
    given = np.maximum(np.asarray(probabilities, np.float64), SMALLEST)
    share = np.asarray(counts, np.float64) / np.sum(counts, dtype=np.float64)
    weights = np.full(len(given), 1 / len(given))
    for _ in range(ITERATIONS):
        parts = weights[:, None] * given
        new = (parts / parts.sum(0)) @ share
        moved = float(np.abs(new - weights).max())
        weights = new
        if moved < TOLERANCE:
            break
    return np.asarray(weights / weights.sum())


def closest(predictions: Array, target: Array) -> Array:
    """The weights (members,) of the mean that is closest to `target` (cases,); `predictions` are (members, cases)."""
    errors = np.asarray(predictions, np.float64) - np.asarray(target, np.float64)
    products = errors @ errors.T / errors.shape[1]  # as weights sum to 1, w · products · w is the squared error
    weights = np.full(len(errors), 1 / len(errors))
    rate = 1 / max(float(np.linalg.eigvalsh(products)[-1]), SMALLEST)
    for _ in range(ITERATIONS):
        new = _on_simplex(weights - rate * (products @ weights))
        moved = float(np.abs(new - weights).max())
        weights = new
        if moved < TOLERANCE:
            break
    return weights


def _on_simplex(values: Array) -> Array:
    """The nearest weights that are not negative and sum to 1 (Held, Wolfe and Crowder, 1974)."""
    falling = np.sort(values)[::-1]
    over = (np.cumsum(falling) - 1) / np.arange(1, len(values) + 1)
    return np.asarray(np.maximum(values - over[np.flatnonzero(falling > over)[-1]], 0))


def corrected(inputs: Array, target: Array, start: Array, strength: float) -> tuple[Array, Array]:
    """A matrix and a bias for which inputs · matrix + bias is close to the target, by ridge regression towards `start`.

    `inputs` (cases, a), `target` (cases, b), `start` (a, b). `strength` is the weight of the penalty on
    (matrix - start)², as a share of the mean square of an input.
    """
    inputs, target = np.asarray(inputs, np.float64), np.asarray(target, np.float64)
    rest = target - inputs @ start
    middle, above = inputs.mean(0), rest.mean(0)
    centred = inputs - middle
    products = centred.T @ centred
    products += np.eye(len(products)) * (strength * np.trace(products) / len(products) + SMALLEST)
    matrix = start + np.linalg.solve(products, centred.T @ (rest - above))
    return matrix, target.mean(0) - middle @ matrix
