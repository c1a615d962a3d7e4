"""Let layers read weights through functions while a model is called, with gradients through these to the weights."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from kcompress.keras_internals import seed_generators
from kcompress.model.patching import patched
from kcompress.model.view import Node, nodes

Reader = Callable[[Any], Any]
"""Takes the value of a weight, in the layer's compute dtype, and gives what the layer is to use."""


@contextmanager
def read_through(model: Any, readers: Mapping[int, Reader]) -> Iterator[None]:
    """Meanwhile, read each weight for whose variable's id there is a reader through that.

    The model must not have been compiled into a function yet, nor be used as such afterwards. Of several around each
    other, the outermost is the first to see the value.
    """
    with ExitStack() as stack:
        for node in nodes(model):
            if any(id(weight.variable) in readers for weight in node.weights):
                stack.enter_context(patched(node.layer, "call", _reading(node, readers)))
        yield


def _reading(node: Node, readers: Mapping[int, Reader]) -> Any:
    import keras

    call = node.layer.call
    variables = [weight.variable for weight in node.weights]
    seeds = [generator.state for generator in seed_generators(node.layer)]

    def reading(*args: Any, **kwargs: Any) -> Any:
        values = [readers.get(id(v), lambda value: value)(v.value) for v in variables]
        with keras.StatelessScope(list(zip(variables, values, strict=True))) as scope:
            result = call(*args, **kwargs)
            drawn = [scope.get_current_value(state) for state in seeds]
        for state, value in zip(seeds, drawn, strict=True):
            if value is not None:
                state.assign(value)
        return result

    return reading
