"""See or change the calls of layers while a model runs, also of those in nested models and wrappers, or shared ones."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from kcompress.keras_internals import layers_of
from kcompress.model.replaced import replaced
from kcompress.model.view import Node

Seen = Callable[[Node, Mapping[str, Any], Any], None]
"""Takes a layer, the arguments of a call by name, the first one also as `""`, and its result."""


Alter = Callable[[Node, dict[str, Any]], dict[str, Any]]
"""Takes a layer and the arguments of a call by name, and gives those to call it with."""


@contextmanager
def watched(chosen: Iterable[Node], seen: Seen) -> Iterator[None]:
    """Meanwhile, call `seen` after every call of these layers.

    What a layer runs is wrapped: its `call`, or its `quantized_call` where Keras has quantized it.
    """

    def watching(node: Node, original: Any, names: list[str]) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            seen(node, {**given, "": given[names[0]]}, result)
            return result

        return call

    with _wrapped(chosen, watching):
        yield


@contextmanager
def altered(chosen: Iterable[Node], alter: Alter) -> Iterator[None]:
    """Meanwhile, let `alter` change the arguments of every call of these layers."""

    def altering(node: Node, original: Any, names: list[str]) -> Any:
        return lambda *args, **kwargs: original(**alter(node, {**dict(zip(names, args, strict=False)), **kwargs}))

    with _wrapped(chosen, altering):
        yield


@contextmanager
def _wrapped(chosen: Iterable[Node], wrap: Callable[[Node, Any, list[str]], Any]) -> Iterator[None]:
    """`wrap` takes a layer, what it runs, and the names of its arguments."""
    with ExitStack() as stack:
        for node in chosen:
            names = list(inspect.signature(type(node.layer).call).parameters)[1:]  # not of what may stand in for it
            if names:  # not so an input layer
                method = "quantized_call" if getattr(node.layer, "quantization_mode", None) else "call"
                stack.enter_context(replaced(node.layer, method, wrap(node, getattr(node.layer, method), names)))
        yield


def cells(all_nodes: Iterable[Node]) -> set[int]:
    """Identities of the cells of recurrent layers and of what they hold, whose calls not every backend shows."""
    import keras

    found = [node.layer.cell for node in all_nodes if isinstance(node.layer, keras.layers.RNN)]
    return {id(part) for cell in found if isinstance(cell, keras.Layer) for part in layers_of(cell)}
