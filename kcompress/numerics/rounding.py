"""Round a layer's weights to a grid so that its outputs change least, not each weight on its own.

A layer computes y = xW, W of shape (inputs, outputs). With the second moment H = E[x xᵀ] of its input, (inputs,
inputs), a change of column w of W by Δ has the mean squared error E[(xΔ)²] = Δᵀ H Δ in its output. Everything is in
units of the scale: `grid` = W / scale, with a scale per column, is rounded to integers from `low` <= 0 to `high`.

Shapes are (inputs, outputs) and (inputs, inputs), or those with `groups` in front: a grouped convolution has a matrix
and a moment for each group, a depthwise one for each channel. A weight that is exactly zero stays zero.

`gptq`: Frantar, Ashkboos, Hoefler and Alistarh 2023, GPTQ. `adaround`: Nagel, Amjad, van Baalen, Louizos and
Blankevoort 2020, Up or Down? Adaptive Rounding for Post-Training Quantization.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.numerics import affine

Array = NDArray[Any]
Ints = NDArray[np.int32]

STRETCH_HIGH, STRETCH_LOW = 1.1, -0.1  # AdaRound's zeta and gamma: the sigmoid reaches 0 and 1 at finite arguments
BETA_START, BETA_END = 20.0, 2.0
HEAD_START = 0.6  # how far from the weight towards GPTQ's result the soft rounding starts
BLOCK = 128


def nearest(grid: Array, low: int, high: int) -> Ints:
    """Each weight's nearest level, ties to even.

    >>> nearest(np.array([[0.4, -2.6], [9.0, 0.0]]), -7, 7).tolist()
    [[0, -3], [7, 0]]
    """
    return affine.to_levels(grid, np.ones(1), low, high)


def error(grid: Array, ints: Ints, moment: Array, scale: Array | float = 1.0) -> NDArray[np.float64]:
    """E[(xΔ)²] of every output, shape (outputs,) or (groups, outputs); `scale` of that shape makes it absolute."""
    change = ints - grid.astype(np.float64)
    result: NDArray[np.float64] = (change * (moment.astype(np.float64) @ change)).sum(-2)
    return result * np.asarray(scale, np.float64) ** 2


def best_scale(
    weights: Array, scales: Iterable[Array], moment: Array, low: int, high: int, together: bool = False
) -> Array:
    """For every output, that of several `scales` with which `nearest` has the smallest error, the first of equals.

    Each of `scales` has shape (outputs,) or (groups, outputs), and so has the result. With `together`, one of `scales`
    is chosen for all outputs.
    """
    best, least = np.ones(1), np.asarray(np.inf)
    for scale in scales:
        grid = weights / scale[..., None, :]
        found = error(grid, nearest(grid, low, high), moment, scale)
        if together:
            found = np.broadcast_to(found.sum(), found.shape)
        best, least = np.where(found < least, scale, best), np.minimum(found, least)
    return best


def gptq(grid: Array, moment: Array, low: int, high: int, damping: float = 0.01) -> Ints:
    """Round input by input, each so that it compensates the errors of those before it.

    Inputs with the largest mean square come first. `damping` times the mean of H's diagonal is added to the diagonal:
    the larger it is, the less the moment counts. A column for which `nearest` has the smaller error gets that.

    The paper updates the remaining weights by the Cholesky factor of H's inverse. Here H = R Rᵀ with R upper
    triangular, so that ΔᵀHΔ = |RᵀΔ|², whose row i is least for Δᵢ = -Σ_{j<i} Rⱼᵢ Δⱼ / Rᵢᵢ. The integers are the same,
    without inverting H.
    """
    stacked, second = _stacked(grid, moment)
    order = np.argsort(-np.diagonal(second, axis1=1, axis2=2), axis=1, kind="stable")
    weights = np.take_along_axis(stacked, order[..., None], 1)
    factor = _unit_lower(second, order, damping)
    ints, changes = np.zeros_like(weights), np.zeros_like(weights)
    for start in range(0, weights.shape[1], BLOCK):
        stop = min(start + BLOCK, weights.shape[1])
        carried = factor[:, start:stop, :start] @ changes[:, :start]
        for i in range(start, stop):
            within = (factor[:, i, None, start:i] @ changes[:, start:i])[:, 0]
            target = weights[:, i] - carried[:, i - start] - within
            ints[:, i] = np.where(weights[:, i] == 0, 0, np.clip(np.rint(target), low, high))
            changes[:, i] = ints[:, i] - weights[:, i]
    rounded = np.empty(weights.shape, np.int32)
    np.put_along_axis(rounded, order[..., None], ints.astype(np.int32), 1)
    return _better(rounded.reshape(grid.shape), nearest(grid, low, high), grid, moment)


def adaround(
    grid: Array,
    moment: Array,
    low: int,
    high: int,
    steps: int = 200,
    rate: float = 0.2,
    regularizer: float = 2.0,
    seed: int = 0,
) -> Ints:
    """Learn for every weight whether to round it up or down, by `steps` of Adam at the learning rate `rate`.

    The soft integer is ⌊w⌋ + h(v), h(v) = clip(1.2 σ(v) - 0.1, 0, 1), and the loss is ΔᵀHΔ + λ Σ (1 - |2h - 1|^β) with
    β falling from 20 to 2, H scaled to a mean diagonal of 1, and λ the `regularizer`. Unlike in the paper, h starts
    between the weight and the result of `gptq`, so that fewer steps are enough. `seed` is of small random offsets of v.
    A column for which `nearest` has the smaller error gets that.
    """
    stacked, second = _stacked(grid, moment)
    size = np.diagonal(second, axis1=1, axis2=2).mean(1)
    second = (second / np.where(size > 0, size, 1)[:, None, None]).astype(np.float32)
    stacked = stacked.astype(np.float32)
    floor = np.floor(np.clip(stacked, low, high))
    greedy = gptq(grid, moment, low, high).reshape(floor.shape)
    start = (1 - HEAD_START) * (stacked - floor) + HEAD_START * (greedy - floor)
    logits = _logit((np.clip(start, 0, 1) - STRETCH_LOW) / (STRETCH_HIGH - STRETCH_LOW))
    logits += np.random.default_rng(seed).normal(0, 0.01, logits.shape)
    logits = logits.astype(np.float32)
    fixed = (stacked == 0) | (floor >= high)
    mean, square = np.zeros_like(logits), np.zeros_like(logits)
    for step in range(steps):
        beta = BETA_END + (BETA_START - BETA_END) * (1 + np.cos(np.pi * step / steps)) / 2
        gradient = _gradient(logits, floor, stacked, fixed, second, regularizer, float(beta))
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (np.square(gradient, out=gradient) - square)
        root = np.sqrt(square / (1 - 0.999 ** (step + 1)))
        root += 1e-8
        logits -= np.divide(mean, root, out=root) * (rate / (1 - 0.9 ** (step + 1)))
    ints = (floor + (~fixed & (logits > 0))).astype(np.int32).reshape(grid.shape)
    return _better(ints, nearest(grid, low, high), grid, moment)


def _gradient(
    logits: Array, floor: Array, weights: Array, fixed: Array, moment: Array, regularizer: float, beta: float
) -> Array:
    """Half the gradient of AdaRound's loss by its logits."""
    sigmoid = 1 / (1 + np.exp(-logits))
    soft = np.clip(sigmoid * (STRETCH_HIGH - STRETCH_LOW) + STRETCH_LOW, 0, 1)
    soft[fixed] = 0
    gradient: Array = moment @ (soft + floor - weights)
    side = 2 * soft - 1
    gradient -= regularizer * beta * np.copysign(np.abs(side) ** (beta - 1), side)
    gradient *= sigmoid * (1 - sigmoid)
    return gradient


def _stacked(grid: Array, moment: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both in float64 with an axis of groups in front."""
    inputs, outputs = grid.shape[-2:]
    return grid.reshape(-1, inputs, outputs).astype(np.float64), moment.reshape(-1, inputs, inputs).astype(np.float64)


def _unit_lower(moment: Array, order: Array, damping: float) -> NDArray[np.float64]:
    """Rᵀ with rows divided by their diagonal, for H = R Rᵀ with its inputs in the given order."""
    backwards = order[:, ::-1]
    ordered = np.take_along_axis(np.take_along_axis(moment, backwards[:, :, None], 1), backwards[:, None, :], 2)
    diagonal = np.einsum("gii->gi", ordered)  # a view
    size = diagonal.mean(1, keepdims=True)
    size = np.where(size > 0, size, 1)
    while True:
        diagonal += damping * size
        try:
            lower = np.linalg.cholesky(ordered)
            break
        except np.linalg.LinAlgError:  # rounding has made it indefinite
            damping = max(10 * damping, 1e-6)
    factor: NDArray[np.float64] = lower[:, ::-1, ::-1].swapaxes(1, 2)
    unit: NDArray[np.float64] = factor / np.einsum("gii->gi", factor)[..., None]
    return unit


def _logit(share: Array) -> Array:
    result: Array = np.log(share / (1 - share))
    return result


def _better(ints: Ints, fallback: Ints, grid: Array, moment: Array) -> Ints:
    """For each column the integers with the smaller error, `fallback` if both are equal."""
    worse = error(grid, ints, moment) >= error(grid, fallback, moment)
    return np.where(worse[..., None, :], fallback, ints)
