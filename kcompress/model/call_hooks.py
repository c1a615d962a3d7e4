"""Hooks that see or change the calls of layers while a model runs, also in nested models and in wrappers."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from kcompress.keras_internals import layers_of
from kcompress.model.patching import patched
from kcompress.model.view import Node

ForwardHook = Callable[[Node, Mapping[str, Any], Any], None]
"""Takes a layer, the arguments of a call by name, the first one also as `""`, and the result of the call."""

ForwardPreHook = Callable[[Node, dict[str, Any]], dict[str, Any]]
"""Takes a layer and the arguments of a call by name, and gives those to call it with."""


@contextmanager
def forward_hooks(chosen: Iterable[Node], hook: ForwardHook) -> Iterator[None]:
    """Within it, call `hook` after every call of these layers.

    What a layer runs is wrapped: its `call`, or its `quantized_call` where Keras has quantized it.
    """

    def watching(node: Node, original: Any, names: list[str]) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            hook(node, {**given, "": given[names[0]]}, result)
            return result

        return call

    with _wrapped(chosen, watching):
        yield


@contextmanager
def forward_pre_hooks(chosen: Iterable[Node], hook: ForwardPreHook) -> Iterator[None]:
    """Within it, every call of these layers has the arguments that `hook` gives."""

    def altering(node: Node, original: Any, names: list[str]) -> Any:
        return lambda *args, **kwargs: original(**hook(node, {**dict(zip(names, args, strict=False)), **kwargs}))

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
                stack.enter_context(patched(node.layer, method, wrap(node, getattr(node.layer, method), names)))
        yield


def recurrent_cells(all_nodes: Iterable[Node]) -> set[int]:
    """Ids of the cells of recurrent layers, and of layers inside them: not every backend lets their calls be seen."""
    import keras

    found = [node.layer.cell for node in all_nodes if isinstance(node.layer, keras.layers.RNN)]
    return {id(part) for cell in found if isinstance(cell, keras.Layer) for part in layers_of(cell)}
