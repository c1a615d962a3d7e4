"""Which weights are smallest: boolean masks, true where a weight is selected for removal.

For a share s of n weights, the round(s · n) smallest |w| are selected, ties in favour of the lower index; N:M keeps
the n largest of every m consecutive weights along an axis. Every mask leaves at least one weight of an array.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]


def smallest(weights: Sequence[Array], share: float) -> list[Mask]:
    """Select the `share` in [0, 1] of all weights that is smallest in magnitude, ranked over all arrays together.

    >>> [mask.tolist() for mask in smallest([np.array([1.0, -3.0]), np.array([0.5, 2.0])], 0.5)]
    [[True, False], [True, False]]
    """
    magnitudes = np.concatenate([np.abs(w).ravel() for w in weights]) if weights else np.empty(0)
    count = round(share * magnitudes.size)
    selected = np.zeros(magnitudes.size, dtype=bool)
    if count:
        cut = np.partition(magnitudes, count - 1)[count - 1]
        selected = magnitudes < cut
        ties = np.flatnonzero(magnitudes == cut)
        selected[ties[: count - int(selected.sum())]] = True
    ends = np.cumsum([w.size for w in weights])[:-1]
    parts = np.split(selected, ends) if weights else []
    return [spare_one(w, part.reshape(w.shape)) for w, part in zip(weights, parts, strict=True)]


def below(weights: Array, threshold: float) -> Mask:
    """Select the weights with |w| < `threshold`."""
    return spare_one(weights, np.abs(weights) < threshold)


def n_of_m(weights: Array, n: int, m: int, axis: int) -> Mask:
    """Select all but the `n` largest of every `m` consecutive weights along `axis`.

    A group at the end that is shorter than m keeps its n largest as well. Ties keep the lower index.

    >>> n_of_m(np.array([[4.0], [1.0], [-3.0], [2.0]]), 2, 4, axis=0).ravel().tolist()
    [False, True, False, True]
    """
    magnitudes = np.moveaxis(np.abs(weights), axis, -1)
    selected = np.zeros(magnitudes.shape, dtype=bool)
    for start in range(0, magnitudes.shape[-1], m):
        group = magnitudes[..., start : start + m]
        order = np.argsort(-group, axis=-1, kind="stable")
        np.put_along_axis(selected[..., start : start + m], order[..., n:], True, axis=-1)
    return spare_one(weights, np.moveaxis(selected, -1, axis))


def spare_one(weights: Array, mask: Mask) -> Mask:
    """Leave the largest weight of an array whose every weight was selected."""
    if mask.size and mask.all():
        mask = mask.copy()
        mask.flat[int(np.abs(weights).argmax())] = False
    return mask
