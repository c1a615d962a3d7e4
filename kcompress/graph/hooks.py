"""See the calls of layers while a model runs, also of layers in nested models and wrappers, and used more than once."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from kcompress.graph.replaced import replaced
from kcompress.graph.view import Node

Seen = Callable[[Node, Mapping[str, Any], Any], None]
"""Takes a layer, the arguments of a call by name, the first one also as `""`, and its result."""


@contextmanager
def watched(chosen: Iterable[Node], seen: Seen) -> Iterator[None]:
    """Meanwhile, call `seen` after every call of these layers.

    What a layer runs is wrapped: its `call`, or its `quantized_call` where Keras has quantized it.
    """
    with ExitStack() as stack:
        for node in chosen:
            names = list(inspect.signature(node.layer.call).parameters)
            if names:  # not so an input layer
                method = "quantized_call" if getattr(node.layer, "quantization_mode", None) else "call"
                call = _watching(node, getattr(node.layer, method), names, seen)
                stack.enter_context(replaced(node.layer, method, call))
        yield


def _watching(node: Node, original: Any, names: list[str], seen: Seen) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        seen(node, {**given, "": given[names[0]]}, result)
        return result

    return call


def cells(all_nodes: Iterable[Node]) -> set[int]:
    """Identities of the cells of recurrent layers and of what they hold, whose calls not every backend shows."""
    import keras

    found = [node.layer.cell for node in all_nodes if isinstance(node.layer, keras.layers.RNN)]
    return {id(part) for cell in found if isinstance(cell, keras.Layer) for part in cell._flatten_layers()}
