"""Inputs and outputs of chosen layers while a model runs on data, eagerly, call by call."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from kcompress.errors import DataError
from kcompress.model.call_hooks import ForwardHook, forward_hooks, recurrent_cells
from kcompress.model.signature import Signature, signature
from kcompress.model.view import Node, nodes

Visit = Callable[[str, Any, Any], None]
"""Takes a layer's qualified name, the first argument of a call, and its result, both as NumPy arrays.

A list or dict of tensors becomes one of arrays. Arrays are only valid during the visit, and must not be changed.
"""


def observe(model: Any, batches: Iterable[Mapping[str, Any]], names: Iterable[str], visit: Visit) -> None:
    """Run the model, not training, on each batch (input name to array) and visit every call of the layers `names`.

    The cells of recurrent layers are never visited, nor is a call that the backend traces rather than runs, such as
    inside a loop of JAX's. Raises KeyError for a name that no layer has.
    """
    by_name = {node.name: node for node in nodes(model)}
    hidden = recurrent_cells(by_name.values())
    chosen = [by_name[name] for name in names if id(by_name[name].layer) not in hidden]

    def seen(node: Node, given: Mapping[str, Any], result: Any) -> None:
        visit(node.name, to_arrays(given[""]), to_arrays(result))

    run(model, batches, chosen, seen)


def run(model: Any, batches: Iterable[Mapping[str, Any]], chosen: Iterable[Node], seen: ForwardHook) -> None:
    """Run the model, not training, on each batch; call `seen`, with tensors, after each call that is not traced."""
    sign = signature(model)
    failed: list[Exception] = []

    def unless_traced(node: Node, given: Mapping[str, Any], result: Any) -> None:
        if is_traced(result) or is_traced(given[""]):
            return
        try:
            seen(node, given, result)
        except Exception as error:  # kept, for Keras wraps what is raised in a layer's call
            failed.append(error)
            raise

    with forward_hooks(chosen, unless_traced), np.errstate(all="ignore"):  # what is not finite, visitors judge
        for batch in batches:
            try:
                outputs(model, sign, batch)
            except DataError:
                if failed:
                    raise failed[0] from None
                raise


def outputs(model: Any, sign: Signature, batch: Mapping[str, Any]) -> list[Any]:
    """The model's outputs, as tensors in the order of its signature, not training, for one batch.

    Seeds and states of the model stay as they are. Raises DataError if it can't be run on the batch.
    """
    import keras

    inputs = sign.pack([np.asarray(batch[name], sign.dtypes[name]) for name in sign.inputs])
    try:
        with keras.StatelessScope():
            return list(keras.tree.flatten(model(inputs, training=False)))
    except Exception as error:  # of any layer's call
        raise DataError(
            f"the model cannot be run on these samples ({_reason(error)}); give data like the training data"
        ) from error


def _reason(error: Exception) -> str:
    """The message of the backend, without what Keras adds to it."""
    lines = [re.sub("\x1b\\[[0-9]*m", "", line).strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith("Exception encountered")]
    return kept[0][:200] if kept else type(error).__name__


def is_traced(structure: Any) -> bool:
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


def to_arrays(structure: Any) -> Any:
    """The same structure with NumPy arrays in place of tensors."""
    import keras

    def to_array(item: Any) -> Any:
        return keras.ops.convert_to_numpy(item) if keras.ops.is_tensor(item) else item

    return keras.tree.map_structure(to_array, structure)
