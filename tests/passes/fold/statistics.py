"""Batch normalization as after training: statistics of what really arrives, then scales and offsets at random."""

from typing import Any

import numpy as np

from tests.models import keras


def randomized(model: Any, samples: Any, seed: int = 0) -> Any:
    """Give every BatchNormalization random weights that keep activations near unit size on inputs like `samples`.

    Kernels are the random ones that the model was built with. The moving statistics are those of each layer's own
    input times a random factor; running the model in training mode with momentum 0 gives them. They must be of inputs
    like those that are compared: on others, activations explode with depth and no two roundings agree.
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
    model(samples, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.moving_mean.assign(layer.moving_mean * random.uniform(0.8, 1.2, layer.moving_mean.shape))
        layer.moving_variance.assign(layer.moving_variance * random.uniform(0.7, 1.5, layer.moving_variance.shape))
    return model
