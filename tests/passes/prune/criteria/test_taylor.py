"""What the loss loses, to first order, without a unit."""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.model.signature import signature
from kcompress.passes.prune.criteria import criteria, taylor
from tests.models import BUILDERS, batch_for, keras, seeded
from tests.passes.prune.criteria.scoring import (
    FLOAT32,
    X,
    attention,
    context,
    hidden,
    kernel,
    labels_for,
    linear_loss,
    mlp,
    ranked,
    relative,
    scores_of,
)

k = keras()
nn = k.layers


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
    from kcompress.training.losses.model_loss import loss_for

    model = build()
    known, x = channels(model), batch_for(model, 12)
    y, groups = labels_for(model, x), ranked(channels(model))
    ctx = context(x, y if len(y) > 1 else next(iter(y.values())))
    loss = loss_for(model, ctx.data.training)
    sign = signature(model)

    def losses():
        outputs = k.tree.flatten(model(sign.pack([x[name] for name in sign.inputs])))
        return np.asarray(loss([y[name] for name in sign.outputs], outputs), np.float64)

    scores = criteria()["taylor"]().scores(model, known, groups, ctx, 12)
    for group in groups:
        expected = np.array([np.abs(slope_by_scaling(model, known, u, losses)).mean() for u in group])
        np.testing.assert_allclose(scores[group], relative(expected), rtol=0.02, atol=0.02)  # differences in float32


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


def test_samples_that_fill_a_fixed_batch_do_not_count():
    free = mlp()
    fixed = k.Sequential([k.Input((4,), batch_size=8, name="x"), nn.Dense(8, "relu", name="hidden"), nn.Dense(3)])
    fixed.set_weights(free.get_weights())
    ctx = context(X, np.arange(20) % 3)
    np.testing.assert_allclose(scores_of(fixed, "taylor", ctx)[0], scores_of(free, "taylor", ctx)[0], rtol=FLOAT32)


def test_taylor_takes_fewer_samples_at_once_where_layers_make_much(monkeypatch):
    model, ctx = mlp(), context(X, np.arange(20) % 3)
    assert taylor.batch_size(channels(model)) == 16
    (whole,) = scores_of(model, "taylor", ctx)
    monkeypatch.setattr(taylor, "VALUES", 3 * (4 + 8 + 3))
    assert taylor.batch_size(channels(model)) == 3
    np.testing.assert_allclose(scores_of(model, "taylor", ctx)[0], whole, rtol=FLOAT32)
    monkeypatch.setattr(taylor, "VALUES", 1)
    assert taylor.batch_size(channels(model)) == 1
