"""What holds for all criteria that look at samples."""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.errors import DataError, UsageError
from kcompress.passes.base import Context
from kcompress.passes.prune.criteria import criteria
from tests.models import keras, seeded
from tests.passes.prune.criteria.scoring import BY_SAMPLES, X, attention, context, mlp, ranked, scores_of

k = keras()
nn = k.layers


@pytest.mark.parametrize("criterion", BY_SAMPLES)
def test_what_only_products_read_is_scored_by_its_l2_norm(criterion):
    model = attention()
    x, y = np.random.default_rng(1).normal(size=(9, 5, 4)).astype(np.float32), np.zeros((9, 2), np.float32)
    known, ctx = channels(model), context(x, y)
    keys = next(s for s in known.sources if (s.layer, s.what) == ("attention/query", "width"))
    values = next(s for s in known.sources if (s.layer, s.what) == ("attention/value", "width"))
    by_data, by_norm = (criteria()[c]().scores(model, known, ranked(known), ctx, 9) for c in (criterion, "l2"))
    units = known.units.of(keys.ids)
    np.testing.assert_allclose(by_data[units], by_norm[units], rtol=1e-9)
    others = known.units.of(values.ids)
    assert not np.allclose(by_data[others], by_norm[others], rtol=1e-3)


@pytest.mark.parametrize("criterion", BY_SAMPLES)
def test_the_state_that_a_recurrent_layer_keeps_stays_and_does_not_count(criterion):
    inputs = k.Input((3, 4), batch_size=4, name="x")
    x = nn.LSTM(3, stateful=True, name="lstm")(nn.Dense(6, name="hidden")(inputs))
    model = seeded(k.Model(inputs, nn.Dense(3, name="head")(x)))
    lstm, ctx = model.get_layer("lstm"), context(np.ones((8, 3, 4), np.float32), np.arange(8) % 3)
    lstm.reset_states()
    first, again = (np.concatenate(scores_of(model, criterion, ctx)).tolist() for _ in range(2))
    assert first == again
    assert not any(np.asarray(state).any() for state in lstm.states)


@pytest.mark.parametrize(
    ("criterion", "ctx", "error", "told"),
    [
        ("activation", Context(), UsageError, "needs calibration data, and there are none"),
        ("zeros", Context(), UsageError, "needs calibration data, and there are none"),
        ("taylor", Context(), UsageError, "needs training data with labels, and there are none"),
        ("taylor", context(X), UsageError, "data has no labels"),
        ("taylor", context(X, np.arange(20)), DataError, "label 19 does not fit the 3 classes"),
        ("taylor", context(np.tile(X, (4, 1)), np.repeat([0, 5], 40)), DataError, "label 5 does not fit"),
        ("taylor", context(X, np.zeros((20, 7))), DataError, "do not fit output 'head'"),
        ("taylor", context(np.full_like(X, np.inf), np.arange(20) % 3), DataError, "is not finite"),
        ("activation", context(np.full_like(X, np.nan)), DataError, "what goes into layer 'head' is not finite"),
        ("zeros", context(np.full_like(X, np.nan)), DataError, "what goes into layer 'head' is not finite"),
        ("activation", context(X[:, :3]), DataError, "wants"),
    ],
)
def test_bad_data_are_refused_in_one_line_that_names_the_criterion(criterion, ctx, error, told):
    with pytest.raises(error, match=told) as raised:
        scores_of(mlp(), criterion, ctx)
    assert str(raised.value).startswith(f"prune.structured: criterion={criterion}")
    assert "\n" not in str(raised.value)
