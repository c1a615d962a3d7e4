"""Small models to cut, for the tests of structured pruning."""

import math

from kcompress.passes.base import Context
from kcompress.passes.prune.structured import PruneStructured
from kcompress.quantization.plan import QuantPlan
from tests.models import keras, seeded

k = keras()
nn = k.layers


def apply(model, plan=None, **fields):
    return PruneStructured(**fields).apply(model, Context(plan=plan or QuantPlan()))


def chain(*widths, activation="relu"):
    """Convolutions one after the other, then a head of three classes."""
    inputs = k.Input((10, 10, 3), name="image")
    x = inputs
    for number, width in enumerate(widths, 1):
        x = nn.Conv2D(width, 3, padding="same", activation=activation, name=f"conv{number}")(x)
    x = nn.GlobalAveragePooling2D(name="pool")(x)
    return seeded(k.Model(inputs, nn.Dense(3, name="head")(x), name="chain"))


def filters(model):
    return {layer.name: layer.filters for layer in model.layers if hasattr(layer, "filters")}


def counted_macs(model):
    """Multiply-adds of convolutions and Dense layers behind them, written out once more."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, nn.Conv2D):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
        elif isinstance(layer, nn.Dense):
            total += math.prod(layer.kernel.shape)
    return total
