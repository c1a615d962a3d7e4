"""Second moments of what kernels multiply: H = E[x xᵀ] over calibration data, for `numerics/rounding.py`.

x are the rows of a layer's input as in `model/matrices.py`, so that a kernel's matrix and its moment fit together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.model.matrices import has_matrix, positions, rows, to_matrix
from kcompress.model.observe import observe
from kcompress.model.view import Node, nodes

POSITIONS = 1024
WIDEST = 8192  # inputs: a moment of 8192 × 8192 takes 256 MiB


@dataclass(frozen=True)
class Moment:
    """What is known of a kernel's input x.

    Attributes:
        second: E[x xᵀ], shape (groups, inputs, inputs), float32.
        mean: E[x], shape (groups, inputs), float32.
        rows: how many x the data has, drawn or not: samples times output positions.
    """

    second: NDArray[np.float32]
    mean: NDArray[np.float32]
    rows: int


class _Sums:
    """Weighted sums over the rows seen so far."""

    def __init__(self, groups: int, inputs: int) -> None:
        self.second = np.zeros((groups, inputs, inputs), np.float32)
        self.mean = np.zeros((groups, inputs), np.float64)
        self.rows = 0

    def add(self, x: NDArray[Any], weight: float) -> None:
        """Add rows (groups, positions, inputs), each of which stands for `weight` rows."""
        x = x.astype(np.float32, copy=False)
        product = x.swapaxes(1, 2) @ x
        product *= weight
        self.second += product
        self.mean += weight * x.sum(1, dtype=np.float64)

    def moment(self) -> Moment:
        self.second /= self.rows
        return Moment(self.second, (self.mean / self.rows).astype(np.float32), self.rows)


def moments(
    model: Any,
    batches: Iterable[Mapping[str, Any]],
    names: Iterable[str] | None = None,
    *,
    draw: int = POSITIONS,
    widest: int = WIDEST,
    seed: int = 0,
) -> dict[str, Moment | None]:
    """The moment of every kernel, by qualified name such as `block/conv/kernel`, in one pass over the batches.

    It is None for a kernel that is no matrix of a product (`has_matrix`) or has more than `widest` inputs, and for one
    whose layer never ran. Memory: four bytes for each element of the moments, and a batch's activations.

    Args:
        model: a model with fixed inputs.
        batches: input name to array each.
        names: the layers to look at, by qualified name; None for all with kernels.
        draw: how many of a layer's output positions to take from each call, at random; all where there are fewer.
        widest: the most inputs of a kernel that gets a moment.
        seed: of the draw.
    """
    wanted = None if names is None else set(names)
    chosen = {node.name: node for node in nodes(model) if node.kernels and (wanted is None or node.name in wanted)}
    sums = {node.qualified(weight): _empty(node, weight, widest) for node in chosen.values() for weight in node.kernels}
    random = np.random.default_rng(seed)

    def visit(name: str, inputs: Any, _: Any) -> None:
        node = chosen[name]
        total = positions(inputs, node.layer)
        drawn = np.sort(random.choice(total, draw, replace=False)) if total > draw else None
        for weight in node.kernels:
            found = sums[node.qualified(weight)]
            if found is not None:
                found.rows += total
                for part in rows(inputs, node.layer, weight.name, drawn):
                    found.add(part, total / (total if drawn is None else draw))

    reached = [n.name for n in chosen.values() if any(sums[n.qualified(w)] is not None for w in n.kernels)]
    observe(model, batches, reached, visit)
    return {name: found.moment() if found is not None and found.rows else None for name, found in sums.items()}


def _empty(node: Node, weight: Any, widest: int) -> _Sums | None:
    if not has_matrix(node.layer, weight.name):
        return None
    groups, inputs, _ = to_matrix(weight.values, node.layer, weight.name).shape
    return _Sums(groups, inputs) if inputs <= widest else None
