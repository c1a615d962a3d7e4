import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.data import Splits
from kcompress.data.objects import open_data
from kcompress.errors import DataError, ModelError, UsageError
from kcompress.model.rebuild import fingerprint
from kcompress.model.signature import signature
from kcompress.passes.base import Context
from kcompress.passes.prune import _readings
from kcompress.passes.prune._criteria import BY_DATA, CRITERIA, score
from tests.models import BUILDERS, batch_for, keras, seeded

k = keras()
nn = k.layers
X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
FLOAT32 = 1e-4  # sums of a few hundred float32 products


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
    whole = open_data(x if y is None else (x, y), "data").whole
    return Context(Splits(whole, whole, None), seed=seed)


def scores_of(model, criterion, ctx=None, samples=1000):
    """Scores of each group in the order of its units, which is that of the channels."""
    known = channels(model)
    groups = ranked(known)
    scores = score(criterion, model, known, groups, ctx or Context(), samples)
    return [scores[group] for group in groups]


def relative(values):
    return values / values.mean()


def mlp(activation="relu", hidden=8, **head):
    layers = [k.Input((4,), name="x"), nn.Dense(hidden, activation, name="hidden"), nn.Dense(3, name="head", **head)]
    return seeded(k.Sequential(layers))


def kernel(model, name):
    return np.asarray(model.get_layer(name).kernel)


@pytest.mark.parametrize("order", [1, 2])
def test_a_norm_is_that_of_the_weights_that_make_the_unit_over_the_mean(order):
    model = mlp()
    (scores,) = scores_of(model, f"l{order}")
    np.testing.assert_allclose(scores, relative(np.linalg.norm(kernel(model, "hidden"), order, axis=0)), rtol=1e-6)


def residual_of_two(size=1.0):
    inputs = k.Input((4,), name="x")
    x = nn.Add()([nn.Dense(6, name="one")(inputs), nn.Dense(6, name="other")(inputs)])
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(x)))
    model.get_layer("other").kernel.assign(size * kernel(model, "other"))
    return model


@pytest.mark.parametrize("criterion", ["l1", "l2", "geometric_median"])
def test_a_big_layer_does_not_outvote_those_that_it_is_coupled_with(criterion):
    (small,), (big,) = (scores_of(residual_of_two(size), criterion) for size in (1.0, 1000.0))
    np.testing.assert_allclose(big, small, rtol=1e-5)  # float32 weights
    assert small.max() > 1.05


def test_norms_of_coupled_layers_are_averaged():
    model = residual_of_two()
    (scores,) = scores_of(model, "l2")
    one, other = (relative(np.linalg.norm(kernel(model, name), axis=0)) for name in ("one", "other"))
    np.testing.assert_allclose(scores, (one + other) / 2, rtol=1e-6)


def test_all_gates_of_a_recurrent_unit_count_and_its_own_state_too():
    inputs = k.Input((5, 3), name="x")
    model = seeded(k.Model(inputs, nn.Dense(2)(nn.LSTM(4, name="lstm")(inputs))))
    cell = model.get_layer("lstm").cell
    parts = [np.asarray(w).reshape(-1, 4, 4) for w in (cell.kernel, cell.recurrent_kernel)]  # inputs, gates, units
    (scores,) = scores_of(model, "l2")
    expected = np.mean([relative(np.sqrt((part**2).sum((0, 1)))) for part in parts], axis=0)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_a_depthwise_kernel_counts_with_all_its_multipliers():
    inputs = k.Input((6, 6, 2), name="x")
    x = nn.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(nn.Conv2D(5, 1, name="conv")(inputs))
    model = seeded(k.Model(inputs, nn.Conv2D(2, 1)(x)))
    made = [np.abs(kernel(model, "conv")).sum((0, 1, 2)), np.abs(kernel(model, "depthwise")).sum((0, 1, 3))]
    (scores,) = scores_of(model, "l1")
    np.testing.assert_allclose(scores, np.mean([relative(part) for part in made], axis=0), rtol=1e-6)


def test_a_group_of_zeros_has_zeros():
    model = mlp()
    model.get_layer("hidden").kernel.assign(np.zeros((4, 8)))
    for criterion in ("l1", "l2", "geometric_median"):
        (scores,) = scores_of(model, criterion)
        assert scores.tolist() == [0.0] * 8


def test_units_in_no_group_have_no_score():
    model = mlp()
    known = channels(model)
    scores = score("l2", model, known, [np.arange(3), np.arange(5, 8)], Context(), 1)[:8]
    assert np.isnan(scores).tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert [scores[:3].mean(), scores[5:].mean()] == pytest.approx([1, 1])


def test_batchnorm_is_the_magnitude_of_the_scales():
    inputs = k.Input((6, 6, 2), name="x")
    x = nn.BatchNormalization(name="first")(nn.Conv2D(5, 1)(inputs))
    x = nn.BatchNormalization(name="second", scale=False)(nn.Conv2D(4, 1)(x))
    model = seeded(k.Model(inputs, nn.Conv2D(2, 1)(x)))
    model.get_layer("first").gamma.assign([0.5, -2.0, 0.0, 1.0, -1.5])
    scaled, unscaled = scores_of(model, "batchnorm")
    assert scaled.tolist() == [0.5, 2.0, 0.0, 1.0, 1.5]
    assert np.isnan(unscaled).all()


def filters_of(values):
    """Each row's sum of distances to the others, the plain way."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    return np.array([[np.linalg.norm(a - b) for a in flat] for b in flat]).sum(1)


def test_geometric_median_is_the_sum_of_distances_to_the_other_filters():
    inputs = k.Input((6, 6, 2), name="x")
    model = seeded(k.Model(inputs, nn.Conv2D(2, 1)(nn.Conv2D(7, 3, name="conv")(inputs))))
    (scores,) = scores_of(model, "geometric_median")
    np.testing.assert_allclose(scores, relative(filters_of(np.moveaxis(kernel(model, "conv"), -1, 0))), rtol=1e-6)


def test_geometric_median_compares_each_gate_with_the_same_gate():
    inputs = k.Input((5, 3), name="x")
    model = seeded(k.Model(inputs, nn.Dense(2)(nn.GRU(4, name="gru")(inputs))))
    cell = model.get_layer("gru").cell
    parts = [np.asarray(w).reshape(-1, 3, 4).transpose(2, 0, 1) for w in (cell.kernel, cell.recurrent_kernel)]
    (scores,) = scores_of(model, "geometric_median")
    np.testing.assert_allclose(scores, np.mean([relative(filters_of(part)) for part in parts], axis=0), rtol=1e-6)


def test_geometric_median_takes_memory_for_pairs_but_not_for_their_differences():
    inputs = k.Input((256,), name="x")
    model = k.Model(inputs, nn.Dense(2)(nn.Dense(512)(inputs)))
    known = channels(model)
    tracemalloc.start()
    score("geometric_median", model, known, ranked(known), Context(), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6  # 512 × 512 products take 2 MB, all differences 537 MB


def test_random_depends_on_the_seed_alone():
    model = mlp()
    first, again, other = (scores_of(model, "random", Context(seed=seed))[0] for seed in (3, 3, 4))
    assert first.tolist() == again.tolist() != other.tolist()


def hidden(model, x, activation=lambda z: np.maximum(z, 0)):
    return activation(x @ kernel(model, "hidden") + np.asarray(model.get_layer("hidden").bias))


def test_activation_is_the_mean_magnitude_of_what_is_read():
    model = mlp("tanh")
    (scores,) = scores_of(model, "activation", context(X))
    np.testing.assert_allclose(scores, relative(np.abs(hidden(model, X, np.tanh)).mean(0)), rtol=FLOAT32)


def test_zeros_is_the_share_of_what_is_read_that_is_not_zero():
    model = mlp()
    (scores,) = scores_of(model, "zeros", context(X))
    np.testing.assert_allclose(scores, relative((hidden(model, X) > 0).mean(0)), rtol=1e-9)


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
    scores = score("activation", model, known, [np.concatenate(ranked(known))], context(x), 20)
    other = x @ kernel(model, "narrow") + np.asarray(model.get_layer("narrow").bias)
    expected = np.concatenate([np.maximum(other, 0).max(1).mean(0), hidden(model, x).mean((0, 1))])
    units = np.concatenate([known.units.of(source.ids) for source in known.sources[:2]])  # narrow, hidden
    np.testing.assert_allclose(scores[units], relative(expected), rtol=FLOAT32)


def linear_loss(y, output):
    return k.ops.sum(y * output, -1)


def test_taylor_is_exactly_what_zeroing_the_outgoing_weights_changes_where_all_is_linear():
    model, y = mlp("relu"), np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    model.compile(loss=linear_loss)
    (scores,) = scores_of(model, "taylor", context(X, y))
    changes, before, head = [], (y * np.asarray(model(X))).sum(-1), model.get_layer("head")
    whole = kernel(model, "head")
    for unit in range(8):
        head.kernel.assign(np.where(np.arange(8)[:, None] == unit, 0, whole))
        changes.append(np.abs((y * np.asarray(model(X))).sum(-1) - before).mean())
    np.testing.assert_allclose(scores, relative(np.array(changes)), rtol=FLOAT32)


def test_taylor_sums_what_readers_do_before_it_takes_the_magnitude():
    """Channel 0 is read twice, with opposite weights, so that it does nothing."""
    inputs = k.Input((4,), name="x")
    x = nn.Dense(3, name="hidden")(inputs)
    model = seeded(k.Model(inputs, nn.Add()([nn.Dense(2, name="one")(x), nn.Dense(2, name="other")(x)])))
    opposite = kernel(model, "other")
    opposite[0] = -kernel(model, "one")[0]
    model.get_layer("other").kernel.assign(opposite)
    model.compile(loss=linear_loss)
    y = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    (scores,) = scores_of(model, "taylor", context(X, y))
    both = (y @ (kernel(model, "one") + opposite).T) * hidden(model, X, lambda z: z)
    np.testing.assert_allclose(scores, relative(np.abs(both).mean(0)), rtol=FLOAT32, atol=1e-6)
    assert scores[0] == pytest.approx(0, abs=1e-6)


def test_taylor_follows_a_unit_through_all_of_a_residual_group():
    """A shared layer, a residual sum, and a reader of a flattened channel: what they do is added with its sign."""
    inputs = k.Input((5, 4), name="x")
    a = nn.Dense(6, name="hidden")(inputs)
    shared = nn.Dense(6, name="shared")
    x = nn.Add()([a, shared(nn.Add()([a, shared(a)]))])
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(nn.Flatten()(x))))
    model.compile(loss=linear_loss)
    x = np.random.default_rng(1).normal(size=(20, 5, 4)).astype(np.float32)
    y = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    (scores,) = scores_of(model, "taylor", context(x, y))
    s, c = kernel(model, "shared"), np.asarray(model.get_layer("shared").bias)
    first = hidden(model, x, lambda z: z)
    second = first + first @ s + c
    third = first + second @ s + c
    by_third = (y @ kernel(model, "head").T).reshape(20, 5, 6)
    by_second = by_third @ s.T  # what the second call of the shared layer reads
    read = third * by_third + second * by_second + first * (by_second @ s.T)
    np.testing.assert_allclose(scores, relative(np.abs(read.sum(1)).mean(0)), rtol=FLOAT32)


def labels_for(model, x, seed=2):
    random, sign = np.random.default_rng(seed), signature(model)
    first = next(iter(x.values()))
    return {
        name: random.integers(0, tensor.shape[-1], (len(first), *tensor.shape[1:-1]))
        for name, tensor in zip(sign.outputs, model.outputs, strict=True)
    }


def convolutional():
    inputs = k.Input((9, 9, 2), name="x")
    x = nn.BatchNormalization(name="bn")(nn.Conv2D(5, 3, name="conv")(inputs))
    y = nn.SeparableConv2D(5, 3, padding="same", depth_multiplier=2, activation="tanh", name="separable")(x)
    x = nn.Concatenate()([nn.Add()([x, y]), nn.Conv2DTranspose(3, 3, padding="same", name="transposed")(y)])
    x = nn.Conv2D(4, 2, strides=2, activation="swish", name="strided")(x)
    return seeded(k.Model(inputs, nn.Dense(3, "softmax", name="head")(nn.Flatten()(x))))


def wrapped():
    inputs = k.Input((6, 4), name="x")
    x = nn.TimeDistributed(nn.Dense(5, "tanh", name="step"), name="each")(nn.Dense(6, "tanh", name="first")(inputs))
    x = nn.EinsumDense("abc,cde->abde", (None, 2, 3), name="einsum")(x)
    x = nn.EinsumDense("abde,dec->abc", (None, 4), activation="tanh", name="back")(x)
    return seeded(k.Model(inputs, nn.Dense(3, name="head")(nn.GlobalAveragePooling1D()(x))))


def slope_by_scaling(model, known, unit, losses, step=1e-2):
    """(L((1 + step) w) − L((1 − step) w)) / 2 step for each sample, w being all weights that read the unit."""
    reading = []
    for slices in known.slices.values():
        for axis in slices.reads:
            ids = slices.axes[axis]
            if ids is not None:
                at = (known.units.made_of[ids] == unit).any(1)
                shape = [-1 if n == axis else 1 for n in range(len(slices.axes))]
                if at.any():
                    reading.append((slices.variable, np.asarray(slices.variable), at.reshape(shape)))
    ends = []
    for sign in (1, -1):
        for variable, values, at in reading:
            variable.assign(np.where(at, values * (1 + sign * step), values))
        ends.append(losses())
    for variable, values, _ in reading:
        variable.assign(values)
    return (ends[0] - ends[1]) / (2 * step)


@pytest.mark.parametrize(
    "build", [convolutional, wrapped, *(BUILDERS[n] for n in ("dense", "tokens", "two_in_two_out"))]
)
def test_taylor_is_the_slope_of_the_loss_by_the_scale_of_all_outgoing_weights(build):
    from kcompress.training.losses import loss_for

    model = build()
    known, x = channels(model), batch_for(model, 12)
    y, groups = labels_for(model, x), ranked(channels(model))
    ctx = context(x, y if len(y) > 1 else next(iter(y.values())))
    loss = loss_for(model, ctx.data.training)
    sign = signature(model)

    def losses():
        outputs = k.tree.flatten(model(sign.pack([x[name] for name in sign.inputs])))
        return np.asarray(loss([y[name] for name in sign.outputs], outputs), np.float64)

    scores = score("taylor", model, known, groups, ctx, 12)
    for group in groups:
        expected = np.array([np.abs(slope_by_scaling(model, known, u, losses)).mean() for u in group])
        np.testing.assert_allclose(scores[group], relative(expected), rtol=0.02, atol=0.02)  # differences in float32


def attention():
    inputs = k.Input((5, 4), name="x")
    x = nn.MultiHeadAttention(3, 2, value_dim=6, name="attention")(inputs, inputs)
    return seeded(k.Model(inputs, nn.Dense(2, name="head")(nn.GlobalAveragePooling1D()(x))))


def test_heads_are_scored_by_what_the_last_layer_of_attention_reads():
    model = attention()
    x = np.random.default_rng(1).normal(size=(20, 5, 4)).astype(np.float32)
    y = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    model.compile(loss=linear_loss)
    dense = model.get_layer("attention")._output_dense
    whole, before, changes = np.asarray(dense.kernel), (y * np.asarray(model(x))).sum(-1), []
    scores = scores_of(model, "taylor", context(x, y))[0]
    for head in range(3):
        dense.kernel.assign(np.where(np.arange(3)[:, None, None] == head, 0, whole))
        changes.append(np.abs((y * np.asarray(model(x))).sum(-1) - before).mean())
    np.testing.assert_allclose(scores, relative(np.array(changes)), rtol=FLOAT32)


@pytest.mark.parametrize("criterion", BY_DATA)
def test_what_only_products_read_is_scored_by_its_l2_norm(criterion):
    model = attention()
    x, y = np.random.default_rng(1).normal(size=(9, 5, 4)).astype(np.float32), np.zeros((9, 2), np.float32)
    known, ctx = channels(model), context(x, y)
    keys = next(s for s in known.sources if (s.layer, s.what) == ("attention/query", "width"))
    values = next(s for s in known.sources if (s.layer, s.what) == ("attention/value", "width"))
    by_data, by_norm = (score(c, model, known, ranked(known), ctx, 9) for c in (criterion, "l2"))
    units = known.units.of(keys.ids)
    np.testing.assert_allclose(by_data[units], by_norm[units], rtol=1e-9)
    others = known.units.of(values.ids)
    assert not np.allclose(by_data[others], by_norm[others], rtol=1e-3)


def test_samples_that_fill_a_fixed_batch_do_not_count():
    free = mlp()
    fixed = k.Sequential([k.Input((4,), batch_size=8, name="x"), nn.Dense(8, "relu", name="hidden"), nn.Dense(3)])
    fixed.set_weights(free.get_weights())
    ctx = context(X, np.arange(20) % 3)
    np.testing.assert_allclose(scores_of(fixed, "taylor", ctx)[0], scores_of(free, "taylor", ctx)[0], rtol=FLOAT32)


def test_taylor_takes_fewer_samples_at_once_where_layers_make_much(monkeypatch):
    model, ctx = mlp(), context(X, np.arange(20) % 3)
    assert _readings.batch_size(channels(model)) == 16
    (whole,) = scores_of(model, "taylor", ctx)
    monkeypatch.setattr(_readings, "VALUES", 3 * (4 + 8 + 3))
    assert _readings.batch_size(channels(model)) == 3
    np.testing.assert_allclose(scores_of(model, "taylor", ctx)[0], whole, rtol=FLOAT32)
    monkeypatch.setattr(_readings, "VALUES", 1)
    assert _readings.batch_size(channels(model)) == 1


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_model_is_left_alone(criterion):
    inputs = k.Input((4,), name="x")
    x = nn.BatchNormalization(name="bn")(nn.Dense(8, "relu")(inputs))
    model = seeded(k.Model(inputs, nn.Dense(3)(nn.Dropout(0.5, name="dropout")(x))))
    before, ctx = fingerprint(model), context(X, np.arange(20) % 3)
    first, again = (scores_of(model, criterion, ctx)[0] for _ in range(2))
    assert first.tolist() == again.tolist()
    assert fingerprint(model) == before


@pytest.mark.parametrize("criterion", BY_DATA)
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


def test_weights_that_are_not_finite_are_refused():
    model = mlp()
    model.get_layer("hidden").kernel.assign(np.full((4, 8), np.nan))
    with pytest.raises(ModelError, match="hidden/kernel holds weights that are not finite"):
        scores_of(model, "l2")


def summary():
    """Scores of a model with a convolution, attention and a wrapper, by all criteria."""
    inputs = k.Input((6, 4), name="x")
    x = nn.BatchNormalization(name="bn")(nn.Conv1D(5, 3, activation="relu", name="conv")(inputs))
    x = nn.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = nn.GlobalAveragePooling1D()(nn.TimeDistributed(nn.Dense(3, name="step"))(x))
    model = seeded(k.Model(inputs, nn.Dense(3, "softmax", name="head")(x)))
    x = batch_for(model, 9)
    ctx = context(x, next(iter(labels_for(model, x).values())))
    return [[scores.tolist() for scores in scores_of(model, criterion, ctx)] for criterion in CRITERIA]


@pytest.mark.slow
def test_jax_gives_the_same_scores():
    pytest.importorskip("jax")
    program = "import json, tests.passes.prune.test_criteria as t; print(json.dumps(t.summary())); "
    program += f"t.{test_the_state_that_a_recurrent_layer_keeps_stays_and_does_not_count.__name__}('taylor')"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for theirs, ours in zip(json.loads(done.stdout), summary(), strict=True):
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)  # float32 activations
