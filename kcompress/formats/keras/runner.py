"""Run a Keras model batch by batch, compiled for inference on whichever backend Keras has."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.base import Tensors
from kcompress.formats.batches import cast_inputs
from kcompress.model.calling import calling
from kcompress.model.signature import signature


class KerasRunner:
    """A Keras model as a Runner; inputs are cast to the dtypes that the model declares."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.signature = signature(model)
        self.inputs = self.signature.inputs
        self.outputs = self.signature.outputs
        self._call = _compiled(model, self.signature.pack)

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        import keras

        tensors = cast_inputs(x, self.signature.dtypes)
        with calling(self.model):
            outputs = self._call(*tensors.values())
        return [keras.ops.convert_to_numpy(o) for o in keras.tree.flatten(outputs)]


def _compiled(model: Any, pack: Callable[[Any], Any]) -> Callable[..., Any]:
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        specs = [tf.TensorSpec(t.shape, t.dtype) for t in model.inputs]
        call: Callable[..., Any] = tf.function(
            lambda *x: model(pack(x), training=False), input_signature=specs, autograph=False
        )
        return call
    if backend == "jax":
        import jax

        weights = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
        run = jax.jit(lambda t, n, *x: model.stateless_call(t, n, pack(x), training=False)[0])
        return lambda *x: run(*weights, *x)
    return lambda *x: keras.ops.stop_gradient(model(pack([np.asarray(item) for item in x]), training=False))
