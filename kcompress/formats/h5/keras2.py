"""A Keras 2 model, read by `tf_keras` and built again from Keras 3's layers with the same weights.

The graph is replayed: every call that the Keras 2 model records is made again on the Keras 3 counterpart of its
layer. So shared layers, nested models and operators need no case of their own, and a layer keeps its name. The result
must give the outputs of the Keras 2 model on random input, or it is refused.
"""

import inspect
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from kcompress import backend
from kcompress.errors import KCompressError, ModelError, UnsupportedError, one_line
from kcompress.formats.h5.tfmot import enter_scopes, is_placeholder, plain_activation, stripped
from kcompress.formats.tensorflow_operators import OPERATORS
from kcompress.keras_internals import (
    is_keras2_graph,
    keras2_has_backward_layer,
    keras2_input_layers,
    keras2_safe_mode,
    keras2_structures,
    keras2_uses,
    nodes_in_order,
    producer,
)

TOLERANCE = 1e-4


def read_keras2(path: Path, wrapped: bool) -> Any:
    """The Keras 3 counterpart of a Keras 2 file. Raises ModelError or UnsupportedError with one line."""
    try:
        with backend.silenced(), warnings.catch_warnings(), ExitStack() as scopes:
            warnings.simplefilter("ignore")  # deprecations inside Keras 2
            import tf_keras

            scopes.enter_context(keras2_safe_mode())
            if wrapped:
                enter_scopes(scopes)
            old = tf_keras.models.load_model(path, compile=False)
            if wrapped:
                old = stripped(old)
            new = _Translator().model(old)
            _check_equal(path, old, new)
    except KCompressError:
        raise
    except Exception as error:  # so does Keras 2 on a damaged one
        raise ModelError(f"{path}: Keras 2 cannot read it ({one_line(error)}); save it again") from error
    return new


class _Translator:
    """Keras 2 layers to Keras 3 layers, each once, so that what was shared stays shared."""

    def __init__(self) -> None:
        self._layers: dict[int, Any] = {}

    def model(self, old: Any) -> Any:
        import keras
        import tf_keras

        if isinstance(old, tf_keras.Sequential) and old.inputs:
            inputs = keras.Input(batch_shape=old.inputs[0].shape, dtype=old.inputs[0].dtype.name)
            layers = [layer for layer in old.layers if not _vanishes(layer)]
            new = keras.Sequential([inputs, *map(self.layer, layers)], name=_name(old))
            for layer in layers:
                self._copy(layer)
            return new
        if not is_keras2_graph(old):
            raise UnsupportedError(f"'{old.name}' is a subclassed Keras 2 model; give a Functional or Sequential one")
        return self._functional(old)

    def _functional(self, old: Any) -> Any:
        import keras
        import tensorflow as tf

        tensors: dict[str, list[Any]] = {}
        inputs = []
        for tensor, layer in zip(old.inputs, keras2_input_layers(old), strict=True):
            new = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype.name, name=_name(layer))
            inputs.append(new)
            tensors[str(id(tensor))] = [new] * keras2_uses(old, str(id(tensor)))
        for node in nodes_in_order(old, "tf_keras"):
            if node.is_input or any(str(i) not in tensors for i in node.flat_input_ids):
                continue
            args, kwargs = node.map_arguments(tensors)
            outputs = self._call(node.layer, args, kwargs)
            for key, output in zip(node.flat_output_ids, keras.tree.flatten(outputs), strict=True):
                tensors[str(key)] = [output] * keras2_uses(old, str(key))
        for layer in old.layers:
            if id(layer) in self._layers:
                self._copy(layer)
        results = [tensors[str(id(tensor))].pop() for tensor in old.outputs]
        taken, given = keras2_structures(old)
        packed_in = tf.nest.pack_sequence_as(taken, inputs)
        packed_out = tf.nest.pack_sequence_as(given, results)
        return keras.Model(packed_in, packed_out, name=_name(old))

    def _call(self, layer: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        import keras

        if _vanishes(layer):
            return args[0]
        if type(layer).__name__ == "TFOpLambda":
            kwargs.pop("name", None)
            result = getattr(keras.ops, OPERATORS[layer.symbol])(*args, *kwargs.values())
            producer(result).name = _name(layer)  # its own could be that of a layer
            return result
        kwargs = {key: value for key, value in kwargs.items() if value is not None and key not in ("training", "mask")}
        return self.layer(layer)(*args, **kwargs)

    def layer(self, old: Any) -> Any:
        """The Keras 3 counterpart of a layer, without weights yet."""
        if id(old) not in self._layers:
            self._layers[id(old)] = self._translated(old)
        return self._layers[id(old)]

    def _translated(self, old: Any) -> Any:
        import keras
        import tf_keras

        if isinstance(old, tf_keras.Model):
            return self.model(old)
        kind = getattr(keras.layers, type(old).__name__, None)
        if kind is None:
            raise UnsupportedError(
                f"'{old.name}' is a {type(old).__name__}, which Keras 3 has no layer for; replace it"
            )
        return kind(**self._arguments(old, kind))

    def _arguments(self, old: Any, kind: Any) -> dict[str, Any]:
        """The settings that the Keras 3 class takes; initializers are left out, since the weights are there."""
        accepted = {name for cls in kind.__mro__ for name in inspect.signature(cls.__init__).parameters}
        config = {key: value for key, value in old.get_config().items() if key in accepted and value is not None}
        config = {key: value for key, value in config.items() if not key.endswith("_initializer")}
        config["name"] = _name(old)
        config["dtype"] = old.dtype_policy.name
        for key, value in list(config.items()):
            if key == "axis" and isinstance(value, (list, tuple)):
                config[key] = value[0] if len(value) == 1 else list(value)
            elif key in ("layer", "backward_layer", "cell"):
                config[key] = self.layer(getattr(old, key))
            elif key.endswith("activation"):
                config[key] = plain_activation(getattr(old, key))
            elif key.endswith(("_regularizer", "_constraint")):
                config[key] = _plain(value)
        if type(old).__name__ == "Normalization":
            config.update(mean=np.ravel(old.mean).tolist(), variance=np.ravel(old.variance).tolist())
        if "backward_layer" in config and not keras2_has_backward_layer(old):
            del config["backward_layer"]
        return config

    def _copy(self, old: Any) -> None:
        """Give the Keras 3 layer the Keras 2 layer's weights."""
        import tf_keras

        if isinstance(old, tf_keras.Model) or type(old).__name__ == "Normalization":
            return
        new = self._layers[id(old)]
        new.trainable = old.trainable
        if new.weights:
            new.set_weights(old.get_weights())


def _vanishes(layer: Any) -> bool:
    return type(layer).__name__ == "InputLayer" or is_placeholder(layer)


def _name(old: Any) -> str:
    """The layer's name; Keras 3 allows no slash."""
    return str(old.name).replace("/", "_")


def _plain(value: Any) -> Any:
    """A regularizer or constraint in a form that Keras 3 reads."""
    import keras

    if isinstance(value, dict) and "class_name" in value:
        for space in (keras.regularizers, keras.constraints):
            kind = getattr(space, value["class_name"], None)
            if kind is not None:
                return kind(**value["config"])
    return value


def _check_equal(path: Path, old: Any, new: Any) -> None:
    import keras
    import tensorflow as tf

    random = np.random.default_rng(0)
    samples = [
        random.integers(0, 2, [size or 4 for size in t.shape]).astype(t.dtype.as_numpy_dtype)
        if t.dtype.is_integer
        else random.random([size or 4 for size in t.shape]).astype(t.dtype.as_numpy_dtype)
        for t in old.inputs
    ]
    given = tf.nest.pack_sequence_as(keras2_structures(old)[0], samples)
    expected = tf.nest.flatten(old(given, training=False))
    found = keras.tree.flatten(new(given, training=False))
    for a, b in zip(expected, found, strict=True):
        scale = float(np.abs(a).max()) or 1.0
        difference = float(np.abs(np.asarray(a) - keras.ops.convert_to_numpy(b)).max())
        if not difference <= TOLERANCE * scale:
            raise ModelError(
                f"{path}: Keras 3 computes other outputs from these layers (by {difference:.2g} of {scale:.2g}); "
                "save the model again with Keras 3"
            )
