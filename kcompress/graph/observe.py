"""See what goes into and comes out of chosen layers while a model runs on data.

The model is called eagerly with each layer's `call` wrapped, as in `graph/cost.py`, so that layers in nested models,
in wrappers and used more than once are seen at every call; what was seen of a call is let go before the next.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from kcompress.graph.signature import signature
from kcompress.graph.view import Node, nodes

Visit = Callable[[str, Any, Any], None]
"""Takes a layer's qualified name, the first argument of a call, and its result, both as NumPy arrays.

Lists and dicts of tensors come as such. Arrays are only valid during the visit, and must not be changed.
"""


def observe(model: Any, batches: Iterable[Mapping[str, Any]], names: Iterable[str], visit: Visit) -> None:
    """Run the model, not training, on each batch (input name to array) and visit every call of the layers `names`.

    The cells of recurrent layers are never visited, nor is a call that the backend traces rather than runs, such as
    inside a loop of JAX's. Raises KeyError for a name that no layer has.
    """
    by_name = {node.name: node for node in nodes(model)}
    cells = _cells(by_name.values())
    chosen = [by_name[name] for name in names if id(by_name[name].layer) not in cells]
    sign = signature(model)
    with _hooked(chosen, visit):
        for batch in batches:
            model(sign.pack([np.asarray(batch[name], sign.dtypes[name]) for name in sign.inputs]), training=False)


def _cells(all_nodes: Iterable[Node]) -> set[int]:
    """Identities of the cells of recurrent layers, and of what they hold: some backends would show them, some not."""
    import keras

    cells = [node.layer.cell for node in all_nodes if isinstance(node.layer, keras.layers.RNN)]
    return {id(part) for cell in cells if isinstance(cell, keras.Layer) for part in cell._flatten_layers()}


@contextmanager
def _hooked(chosen: list[Node], visit: Visit) -> Iterator[None]:
    hooked: list[tuple[Any, str]] = []

    def hook(node: Node) -> None:
        first = next(iter(inspect.signature(node.layer.call).parameters), None)
        if first is None:  # an input layer
            return
        method = "quantized_call" if getattr(node.layer, "quantization_mode", None) else "call"
        original = getattr(node.layer, method)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            given = args[0] if args else kwargs[first]
            if not _traced(result) and not _traced(given):
                visit(node.name, _arrays(given), _arrays(result))
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


def _traced(structure: Any) -> bool:
    """Whether any tensor stands for a value that is not known yet."""
    import keras

    return any(_is_symbol(item) for item in keras.tree.flatten(structure))


def _is_symbol(item: Any) -> bool:
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return isinstance(item, jax.core.Tracer)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.is_tensor(item) and tf.is_symbolic_tensor(item))
    return False


def _arrays(structure: Any) -> Any:
    import keras

    def to_array(item: Any) -> Any:
        return keras.ops.convert_to_numpy(item) if keras.ops.is_tensor(item) else item

    return keras.tree.map_structure(to_array, structure)
