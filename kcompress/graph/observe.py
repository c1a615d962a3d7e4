"""See what goes into and comes out of chosen layers while a model runs on data.

The model is called eagerly; what was seen of a call is let go before the next.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from kcompress.graph.hooks import cells, watched
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
    hidden = cells(by_name.values())
    chosen = [by_name[name] for name in names if id(by_name[name].layer) not in hidden]
    sign = signature(model)

    def seen(node: Node, given: Mapping[str, Any], result: Any) -> None:
        if not _traced(result) and not _traced(given[""]):
            visit(node.name, _arrays(given[""]), _arrays(result))

    with watched(chosen, seen):
        for batch in batches:
            model(sign.pack([np.asarray(batch[name], sign.dtypes[name]) for name in sign.inputs]), training=False)


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
