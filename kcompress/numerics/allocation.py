"""One choice for each of several items, so that the choices together cost least and take no more room than there is.

The multiple-choice knapsack problem, as an integer program: minimize Σ c_ij x_ij where Σ s_ij x_ij <= budget,
Σ_j x_ij = 1 for every item i, and x_ij is 0 or 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

GAP = 1e-6
"""By which share the cost of what is found may be above the least."""
SECONDS = 10.0
"""After which the best that is known by then is taken."""


def allocate(costs: NDArray[Any], sizes: NDArray[Any], budget: float) -> list[int] | None:
    """The number of the choice for each item; None where even the smallest choices take more than the budget.

    `costs` and `sizes` are (items, choices), finite and not negative; sizes and the budget are in one unit.
    """
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csr_array

    costs, sizes = np.asarray(costs, np.float64), np.asarray(sizes, np.float64)
    items, choices = costs.shape
    smallest = sizes.argmin(1)
    if sizes.min(1).sum() > budget:
        return None
    if not items:
        return []
    rows, columns = np.repeat(np.arange(items), choices), np.arange(items * choices)
    one_each = csr_array((np.ones(items * choices), (rows, columns)), shape=(items, items * choices))
    unit = max(float(costs.max()), np.finfo(np.float64).tiny)  # so that tolerances of the solver are of the costs' size
    room = max(float(budget), 1.0)
    found = milp(
        costs.ravel() / unit,
        integrality=np.ones(items * choices),
        bounds=(0, 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(sizes.reshape(1, -1) / room, -np.inf, budget / room),
        ],
        options={"mip_rel_gap": GAP, "time_limit": SECONDS},
    )
    if found.x is None:
        return _listed(smallest)
    chosen = found.x.reshape(items, choices).argmax(1)
    fits = sizes[np.arange(items), chosen].sum() <= budget
    return _listed(chosen if fits else smallest)  # the solver allows itself a millionth more than the budget


def _listed(chosen: Sequence[int] | NDArray[Any]) -> list[int]:
    return [int(number) for number in chosen]
