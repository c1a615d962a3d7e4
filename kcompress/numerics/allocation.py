"""One choice for each of several items, so that the choices together cost least and take no more room than there is.

The multiple-choice knapsack problem, as an integer program: minimize Σ c_ij x_ij where Σ s_ij x_ij <= budget,
Σ_j x_ij = 1 for every item i, and x_ij is 0 or 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

GAP = 1e-6
"""By which share the cost of what is found may be above the least."""
SECONDS = 10.0
"""After which the best that is known by then is taken."""
ROUNDS = 3
"""The solver's tolerances are absolute: each round measures costs by what the one before came to."""


def allocate(costs: NDArray[Any], sizes: NDArray[Any], budget: float) -> list[int] | None:
    """The number of the choice for each item; None where even the smallest choices take more than the budget.

    `costs` and `sizes` are (items, choices), finite and not negative; sizes and the budget are in one unit.
    """
    costs, sizes = np.asarray(costs, np.float64), np.asarray(sizes, np.float64)
    chosen = sizes.argmin(1)
    rows = np.arange(len(sizes))
    if sizes[rows, chosen].sum() > budget:
        return None
    for _ in range(ROUNDS):
        chosen = _better(chosen, costs, sizes, budget)
    return [int(number) for number in chosen]


def _better(chosen: NDArray[Any], costs: NDArray[Any], sizes: NDArray[Any], budget: float) -> NDArray[Any]:
    """The best choices, to what the solver's tolerances are of what the ones given cost; those where it finds none."""
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csr_array

    items, choices = costs.shape
    rows = np.arange(items)
    most = float(costs[rows, chosen].sum())
    if most == 0:
        return chosen
    places = np.repeat(rows, choices), np.arange(items * choices)
    one_each = csr_array((np.ones(items * choices), places), shape=(items, items * choices))
    room = max(float(budget), 1.0)
    found = milp(
        np.minimum(costs.ravel() / most, 1.0),
        integrality=np.ones(items * choices),
        bounds=(0, (costs.ravel() <= most).astype(float)),  # no part of what is better costs more than the whole
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(sizes.reshape(1, -1) / room, -np.inf, budget / room),
        ],
        options={"mip_rel_gap": GAP, "time_limit": SECONDS},
    )
    if found.x is None:
        return chosen
    best = found.x.reshape(items, choices).argmax(1)
    fits = sizes[rows, best].sum() <= budget  # the solver allows itself a millionth more
    return best if fits and costs[rows, best].sum() <= most else chosen
