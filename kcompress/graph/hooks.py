"""See the calls of layers while a model runs, also of layers in nested models and wrappers, and used more than once."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kcompress.graph.view import Node

Seen = Callable[[Node, Mapping[str, Any], Any], None]
"""Takes a layer, the arguments of a call by name, the first one also as `""`, and its result."""


@contextmanager
def watched(chosen: Iterable[Node], seen: Seen) -> Iterator[None]:
    """Meanwhile, call `seen` after every call of these layers.

    What a layer runs is wrapped: its `call`, or its `quantized_call` where Keras has quantized it.
    """
    hooked: list[tuple[Any, str]] = []

    def hook(node: Node) -> None:
        names = list(inspect.signature(node.layer.call).parameters)
        if not names:  # an input layer
            return
        method = "quantized_call" if getattr(node.layer, "quantization_mode", None) else "call"
        original = getattr(node.layer, method)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            seen(node, {**given, "": given[names[0]]}, result)
            return result

        node.layer.__dict__[method] = call
        hooked.append((node.layer, method))

    try:
        for node in chosen:
            hook(node)
        yield
    finally:
        for layer, method in hooked:
            del layer.__dict__[method]


def cells(all_nodes: Iterable[Node]) -> set[int]:
    """Identities of the cells of recurrent layers and of what they hold, whose calls not every backend shows."""
    import keras

    found = [node.layer.cell for node in all_nodes if isinstance(node.layer, keras.layers.RNN)]
    return {id(part) for cell in found if isinstance(cell, keras.Layer) for part in cell._flatten_layers()}
