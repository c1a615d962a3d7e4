"""One choice for each of several items with the least total cost within a budget of size.

The multiple-choice knapsack problem, as an integer program: minimize Σ c_ij x_ij where Σ s_ij x_ij <= budget,
Σ_j x_ij = 1 for every item i, and x_ij is 0 or 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

GAP = 1e-6
"""The cost found may exceed the least by this share."""
SECONDS = 10.0
"""The solver's time limit; the best solution known by then is taken."""
ROUNDS = 3
"""The solver's tolerances are absolute, so each round divides costs by the total cost of the round before."""


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
    """The best choices within the solver's tolerances relative to the cost of `chosen`; `chosen` if it finds none."""
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
        bounds=(0, (costs.ravel() <= most).astype(float)),  # no part of a better solution costs more
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
