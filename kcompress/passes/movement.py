"""How far the weights of a layer moved, in words."""

from collections.abc import Collection, Iterator

import numpy as np

from kcompress.model.view import Node, Weight


def describe_movement(before: Node, after: Node, sparse: Collection[str] | None = None) -> str:
    """`, weights moved by 3.1 %; 512 zeros kept`: the change over the norm of all learned weights before.

    `sparse` has the qualified names of the kernels whose zeros are counted; without it all kernels are.
    """
    norm = shift = 0.0
    for old, new in _learned(before, after):
        was = old.values.astype(np.float64)
        norm += float((was**2).sum())
        shift += float(((new.values - was) ** 2).sum())
    share = f", weights moved by {(shift / norm) ** 0.5:.1%}" if norm else ""
    zeros = sum(int((w.values == 0).sum()) for w in after.kernels if sparse is None or after.qualified(w) in sparse)
    return share + (f"; {zeros:,} zeros kept" if zeros else "")


def _learned(before: Node, after: Node) -> Iterator[tuple[Weight, Weight]]:
    new = {weight.name: weight for weight in after.weights}
    return ((weight, new[weight.name]) for weight in before.weights if weight.learned)
