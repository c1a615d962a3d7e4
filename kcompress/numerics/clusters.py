"""Groups of items that behave alike, from a row of figures for each item.

Hierarchical clustering that joins the two groups whose union has the least sum of squares (Ward, "Hierarchical Grouping
to Optimize an Objective Function", 1963), on the logarithms of the figures.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SMALLEST, LARGEST = 1e-12, 1e12
"""Figures are clipped to these, so that their logarithms are finite."""


def logarithms(profiles: Array) -> Array:
    """The decimal logarithms of figures that are not negative; of infinite ones too."""
    return np.asarray(np.log10(np.clip(np.nan_to_num(profiles, nan=LARGEST, posinf=LARGEST), SMALLEST, LARGEST)))


def clusters(profiles: Array, groups: int) -> list[list[int]]:
    """The row numbers of `profiles` (items, figures) in `groups` groups or fewer, those with the largest figures first.

    Equal rows are always in one group, so there may be fewer groups. Row numbers of a group are in order.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    logs = logarithms(np.asarray(profiles, np.float64))
    distinct, place = np.unique(logs, axis=0, return_inverse=True)
    if groups >= len(distinct):
        labels = np.arange(len(distinct))
    elif groups == 1:
        labels = np.zeros(len(distinct), int)
    else:
        labels = fcluster(linkage(distinct, "ward"), groups, "maxclust")
    of_rows = labels[place.reshape(-1)]
    found = [np.flatnonzero(of_rows == label).tolist() for label in np.unique(of_rows)]
    return sorted(found, key=lambda rows: (-float(logs[rows].mean()), rows[0]))
