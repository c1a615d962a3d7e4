"""Masks on channels: a factor for each channel of each sample, to learn how much the loss depends on the channel.

A mask m has shape (samples, channels). The input x of a layer becomes m · x, so that ∂L/∂m = Σ over positions of
x · ∂L/∂x where m is 1. To first order, −∂L/∂m is the change of L if the layer's weights for that channel are zeroed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kcompress.channels.summed_inputs import SummedInput, by_layer
from kcompress.model.call_hooks import forward_pre_hooks
from kcompress.model.view import Node


@contextmanager
def masked(inputs: Sequence[SummedInput], masks: Sequence[Any]) -> Iterator[set[int]]:
    """Within it, multiply each input by its mask; gives the positions in `inputs` of those that were multiplied.

    A layer may get several rows for each sample, as where time was folded into the batch axis; the rows of a sample are
    taken to be neighbours. Where the rows are no multiple of the samples, the input stays as it is.
    """
    reached: set[int] = set()
    numbers = by_layer(inputs)

    def alter(node: Node, given: dict[str, Any]) -> dict[str, Any]:
        for number in numbers[id(node.layer)]:
            masked_input = inputs[number]
            product = _product(given[masked_input.argument], masks[number], masked_input.axis)
            if product is not None:
                given = {**given, masked_input.argument: product}
                reached.add(number)
        return given

    with forward_pre_hooks([inputs[first].node for first, *_ in numbers.values()], alter):
        yield reached


def _product(x: Any, mask: Any, axis: int) -> Any:
    import keras

    rows, rest = divmod(int(x.shape[0]), int(mask.shape[0]))
    if rest or not rows:
        return None
    mask = keras.ops.repeat(mask, rows, axis=0) if rows > 1 else mask
    shape = [1] * len(x.shape)
    shape[0], shape[axis] = mask.shape
    return x * keras.ops.cast(keras.ops.reshape(mask, shape), x.dtype)
