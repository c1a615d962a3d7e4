"""Small models, data and scores for the tests of criteria."""

import numpy as np

from kcompress.channels.channels import channels
from kcompress.data import Splits
from kcompress.data.objects import open_data
from kcompress.model.signature import signature
from kcompress.passes.base import Context
from kcompress.passes.prune.criteria import criteria
from tests.models import keras, seeded

k = keras()
nn = k.layers
X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
FLOAT32 = 1e-4  # sums of a few hundred float32 products
BY_SAMPLES = ("activation", "zeros", "taylor")


def ranked(known):
    """The units of each source that are free to go, each once."""
    seen = set(known.units.pinned)
    groups = []
    for source in known.sources:
        free = [unit for unit in known.units.of(source.ids).tolist() if unit not in seen]
        seen.update(free)
        if free:
            groups.append(np.array(free))
    return groups


def context(x, y=None, seed=0):
    whole = open_data(x if y is None else (x, y), "data").unsplit
    return Context(Splits(whole, whole, None), seed=seed)


def scores_of(model, criterion, ctx=None, samples=1000):
    """Scores of each group in the order of its units, which is that of the channels."""
    known = channels(model)
    groups = ranked(known)
    scores = criteria()[criterion]().scores(model, known, groups, ctx or Context(), samples)
    return [scores[group] for group in groups]


def relative(values):
    return values / values.mean()


def mlp(activation="relu", hidden=8, **head):
    layers = [k.Input((4,), name="x"), nn.Dense(hidden, activation, name="hidden"), nn.Dense(3, name="head", **head)]
    return seeded(k.Sequential(layers))


def residual_of_two(size=1.0):
    inputs = k.Input((4,), name="x")
    x = nn.Add()([nn.Dense(6, name="one")(inputs), nn.Dense(6, name="other")(inputs)])
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(x)))
    model.get_layer("other").kernel.assign(size * kernel(model, "other"))
    return model


def kernel(model, name):
    return np.asarray(model.get_layer(name).kernel)


def hidden(model, x, activation=lambda z: np.maximum(z, 0)):
    return activation(x @ kernel(model, "hidden") + np.asarray(model.get_layer("hidden").bias))


def linear_loss(y, output):
    return k.ops.sum(y * output, -1)


def labels_for(model, x, seed=2):
    random, sign = np.random.default_rng(seed), signature(model)
    first = next(iter(x.values()))
    return {
        name: random.integers(0, tensor.shape[-1], (len(first), *tensor.shape[1:-1]))
        for name, tensor in zip(sign.outputs, model.outputs, strict=True)
    }


def attention():
    inputs = k.Input((5, 4), name="x")
    x = nn.MultiHeadAttention(3, 2, value_dim=6, name="attention")(inputs, inputs)
    return seeded(k.Model(inputs, nn.Dense(2, name="head")(nn.GlobalAveragePooling1D()(x))))
