"""The mean magnitude of what is read of a unit."""

import numpy as np

from kcompress.channels.channels import channels
from kcompress.passes.prune.criteria import criteria
from tests.models import keras, seeded
from tests.passes.prune.criteria.scoring import FLOAT32, X, context, hidden, kernel, mlp, ranked, relative, scores_of

k = keras()
nn = k.layers


def test_activation_is_the_mean_magnitude_of_what_is_read():
    model = mlp("tanh")
    (scores,) = scores_of(model, "activation", context(X))
    np.testing.assert_allclose(scores, relative(np.abs(hidden(model, X, np.tanh)).mean(0)), rtol=FLOAT32)


def test_only_so_many_samples_are_looked_at():
    model = mlp()
    (scores,) = scores_of(model, "activation", context(X), samples=7)
    np.testing.assert_allclose(scores, relative(hidden(model, X[:7]).mean(0)), rtol=FLOAT32)


def test_places_of_a_flattened_channel_are_averaged():
    inputs = k.Input((5, 4), name="x")
    model = seeded(k.Model(inputs, nn.Dense(2)(nn.Flatten()(nn.Dense(6, "relu", name="hidden")(inputs)))))
    x = np.random.default_rng(1).normal(size=(20, 5, 4)).astype(np.float32)
    (scores,) = scores_of(model, "activation", context(x))
    np.testing.assert_allclose(scores, relative(hidden(model, x).mean((0, 1))), rtol=FLOAT32)


def test_a_unit_does_not_count_for_more_where_it_lies_in_more_positions():
    inputs = k.Input((5, 4), name="x")
    wide, narrow = nn.Dense(6, "relu", name="hidden")(inputs), nn.Dense(3, "relu", name="narrow")(inputs)
    x = nn.Concatenate()([nn.Flatten()(wide), nn.GlobalMaxPooling1D()(narrow)])
    model = seeded(k.Model(inputs, nn.Dense(2)(x)))
    x = np.random.default_rng(1).normal(size=(20, 5, 4)).astype(np.float32)
    known = channels(model)
    scores = criteria()["activation"]().scores(model, known, [np.concatenate(ranked(known))], context(x), 20)
    other = x @ kernel(model, "narrow") + np.asarray(model.get_layer("narrow").bias)
    expected = np.concatenate([np.maximum(other, 0).max(1).mean(0), hidden(model, x).mean((0, 1))])
    units = np.concatenate([known.units.of(source.ids) for source in known.sources[:2]])  # narrow, hidden
    np.testing.assert_allclose(scores[units], relative(expected), rtol=FLOAT32)
