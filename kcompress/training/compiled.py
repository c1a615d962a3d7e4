"""A model's inference pass as a compiled function on whichever backend Keras has."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.model.observe import to_arrays

Run = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]
"""Takes a batch, input name to array, and gives arrays."""


def compiled(model: Any, dtypes: Mapping[str, str], pack: Callable[[dict[str, Any]], Any], choose: Any) -> Run:
    """Run batches through a model with its weights as they are now, changing none of them.

    `pack` turns the tensors, in the dtypes given, into what the model takes. `choose` takes what it gives, and what its
    non-trainable variables would be after that, and gives a list of tensors.
    """
    import keras

    def call(trainable: Any, rest: Any, inputs: dict[str, Any]) -> list[Any]:
        outputs, after = model.stateless_call(trainable, rest, pack(inputs), training=False)
        return list(choose(outputs, after))

    compiled_call = on_backend(call)
    weights = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]

    def run(batch: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        inputs = {name: keras.ops.convert_to_tensor(np.asarray(batch[name], kind)) for name, kind in dtypes.items()}
        return [np.asarray(array) for array in to_arrays(compiled_call(*weights, inputs))]

    return run


def on_backend(function: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """A function of tensors, compiled where the backend compiles; not anew for other tensors of the same shapes."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jit(function)  # type: ignore[no-any-return]
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False, reduce_retracing=True)  # type: ignore[no-any-return]
    return function
