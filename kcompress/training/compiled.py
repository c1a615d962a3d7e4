"""A model's inference pass as a compiled function on whichever backend Keras has."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.graph.observe import to_arrays

Run = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]
"""Takes a batch, input name to array, and gives arrays."""
Weights = tuple[list[Any], list[Any]]
"""What stands for a model's trainable variables and for the others, in Keras's order: tensors."""


def compiled(model: Any, dtypes: Mapping[str, str], pack: Callable[[dict[str, Any]], Any], choose: Any) -> Run:
    """Run batches through a model with its weights as they are now, changing none of them.

    `pack` turns the tensors, in the dtypes given, into what the model takes. `choose` takes what it gives, and what its
    non-trainable variables would be after that, and gives a list of tensors.
    """
    run = with_weights(model, dtypes, pack, choose)
    weights = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    return lambda batch: run(weights, batch)


def with_weights(
    model: Any, dtypes: Mapping[str, str], pack: Callable[[dict[str, Any]], Any], choose: Any
) -> Callable[[Weights, Mapping[str, NDArray[Any]]], list[NDArray[Any]]]:
    """The same with the weights given at each call; nothing is compiled anew where all of them are tensors."""
    import keras

    def step(trainable: Any, rest: Any, inputs: dict[str, Any]) -> list[Any]:
        outputs, after = model.stateless_call(trainable, rest, pack(inputs), training=False)
        return list(choose(outputs, after))

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        step = jax.jit(step)
    elif backend == "tensorflow":
        import tensorflow as tf

        step = tf.function(step, autograph=False, reduce_retracing=True)

    def run(weights: Weights, batch: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        inputs = {name: keras.ops.convert_to_tensor(np.asarray(batch[name], kind)) for name, kind in dtypes.items()}
        return [np.asarray(array) for array in to_arrays(step(*weights, inputs))]

    return run
