"""A factor for each channel of each sample where channels are read, to learn what the reading is worth.

A gate g has shape (samples, channels). What a layer reads becomes g · x, so that ∂L/∂g = Σ over positions of x · ∂L/∂x
where g is 1: to first order what zeroing the weights by which the layer reads the channel takes from −L.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kcompress.channels.reading import Place, numbered
from kcompress.model.hooks import altered
from kcompress.model.view import Node


@contextmanager
def gated(places: Sequence[Place], gates: Sequence[Any]) -> Iterator[set[int]]:
    """Meanwhile, multiply what is read at the places by their gates; gives the numbers of the places that were reached.

    Where a layer is given several rows for each sample, as where steps of time were put into the batch, those of one
    sample are taken to be neighbours; where that can't be, what is read there stays as it is.
    """
    reached: set[int] = set()
    numbers = numbered(places)

    def alter(node: Node, given: dict[str, Any]) -> dict[str, Any]:
        for number in numbers[id(node.layer)]:
            place = places[number]
            product = _product(given[place.argument], gates[number], place.axis)
            if product is not None:
                given = {**given, place.argument: product}
                reached.add(number)
        return given

    with altered([places[first].node for first, *_ in numbers.values()], alter):
        yield reached


def _product(x: Any, gate: Any, axis: int) -> Any:
    import keras

    rows, rest = divmod(int(x.shape[0]), int(gate.shape[0]))
    if rest or not rows:
        return None
    gate = keras.ops.repeat(gate, rows, axis=0) if rows > 1 else gate
    shape = [1] * len(x.shape)
    shape[0], shape[axis] = gate.shape
    return x * keras.ops.cast(keras.ops.reshape(gate, shape), x.dtype)
