"""Take TensorFlow Model Optimization's wrappers off a Keras 2 model: pruning, clustering, quantization-aware training.

Pruned and clustered layers are stripped by TFMOT itself, with masks and clusters applied. For quantization-aware
layers it has no such function: the wrapped layers are built again with the float weights and plain activations, and the
ranges that were learned for activations are dropped.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

PRUNING, CLUSTERING, QUANTIZING = "PruneLowMagnitude", "ClusterWeights", ("QuantizeWrapper", "QuantizeWrapperV2")
WRAPPERS = (PRUNING, CLUSTERING, *QUANTIZING)
QUANTIZE_LAYER = "QuantizeLayer"
ACTIVATIONS = ("QuantizeAwareActivation", "NoOpActivation")
PLACEHOLDER = "kcompress_placeholder"


def is_wrapped(config: Any) -> bool:
    """Whether a config holds wrappers of TensorFlow Model Optimization."""
    return any(entry.get("class_name") in (*WRAPPERS, QUANTIZE_LAYER) for entry in _entries(config))


def _entries(item: Any) -> Iterator[dict[str, Any]]:
    if isinstance(item, dict):
        yield item
    for value in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
        yield from _entries(value)


def enter_scopes(scopes: ExitStack) -> None:
    """Let Keras 2 know TFMOT's classes."""
    import tensorflow_model_optimization as tfmot

    scopes.enter_context(tfmot.sparsity.keras.prune_scope())
    scopes.enter_context(tfmot.clustering.keras.cluster_scope())
    scopes.enter_context(tfmot.quantization.keras.quantize_scope())


def stripped(model: Any) -> Any:
    """The Keras 2 model without wrappers."""
    import tensorflow_model_optimization as tfmot

    kinds = {type(layer).__name__ for layer in model.submodules}
    if PRUNING in kinds:
        model = tfmot.sparsity.keras.strip_pruning(model)
    if CLUSTERING in kinds:
        model = tfmot.clustering.keras.strip_clustering(model)
    return _without_quantization(model) if {QUANTIZE_LAYER, *QUANTIZING} & kinds else model


def _without_quantization(model: Any) -> Any:
    import tf_keras

    pairs = []

    def plain(layer: Any) -> Any:
        if type(layer).__name__ == QUANTIZE_LAYER:
            return tf_keras.layers.Activation("linear", name=f"{PLACEHOLDER}_{layer.name}")
        inner = layer.layer if type(layer).__name__ in QUANTIZING else layer
        config = inner.get_config()
        if hasattr(inner, "activation"):
            config["activation"] = plain_activation(inner.activation)
        clone = type(inner).from_config(config)
        pairs.append((layer, clone))
        return clone

    result = tf_keras.models.clone_model(model, clone_function=plain)
    for layer, clone in pairs:
        own = {_tail(variable): variable for variable in layer.weights}
        clone.set_weights([own[_tail(variable)].numpy() for variable in clone.weights])
    return result


def _tail(variable: Any) -> str:
    return str(variable.name).rsplit("/", 1)[-1]


def is_placeholder(layer: Any) -> bool:
    """Whether a layer stands where a quantization of the input was."""
    return str(layer.name).startswith(PLACEHOLDER)


def plain_activation(function: Any) -> Any:
    """A plain activation's name, taken out of what quantization-aware training put around it."""
    import tf_keras

    while type(function).__name__ in ACTIVATIONS:
        if type(function).__name__ == "NoOpActivation":
            return "linear"
        function = function.activation
    serialized = tf_keras.activations.serialize(function)
    return serialized if isinstance(serialized, str) else serialized["config"]
