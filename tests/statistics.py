"""Batch normalization as after training: statistics of what really arrives, then scales and offsets at random."""

from typing import Any

import numpy as np

from tests.models import keras


def randomized(model: Any, seed: int = 0) -> Any:
    """Give every BatchNormalization random weights that keep activations near unit size, whatever the depth.

    Kernels are the random ones that the model was built with; the moving statistics are those of the layer's own input
    times a random factor, which takes one run of the model in training mode with momentum 0.
    """
    k = keras()
    random = np.random.default_rng(seed)
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, k.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        if layer.gamma is not None:
            layer.gamma.assign(random.uniform(0.5, 1.5, layer.gamma.shape))
        if layer.beta is not None:
            layer.beta.assign(random.uniform(-0.5, 0.5, layer.beta.shape))
        layer.momentum = 0.0
    (shape,) = [tensor.shape for tensor in model.inputs]
    model(random.uniform(-1, 1, (8, *shape[1:])).astype(np.float32), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.moving_mean.assign(layer.moving_mean * random.uniform(0.8, 1.2, layer.moving_mean.shape))
        variance = (layer.moving_variance + 1e-3) * random.uniform(0.7, 1.5, layer.moving_variance.shape)
        layer.moving_variance.assign(variance)
    return model
