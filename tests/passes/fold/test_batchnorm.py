"""Batch normalization disappears into its neighbours without a change of the outputs, or stays for a stated reason."""

import numpy as np
import pytest

from kcompress.model.view import nodes
from kcompress.passes.base import Context, Skip
from kcompress.passes.fold.batchnorm import FoldBatchNorm
from kcompress.passes.prune.magnitude import PruneMagnitude
from kcompress.quantization.plan import FLOAT16, QuantPlan
from tests.models import keras, residual, seeded

k = keras()
nn = k.layers
CLOSE = 1e-4  # float32 rounds at 1e-7, which tens of layers amplify
IMAGE, SERIES, VOLUME, VECTOR = (6, 6, 4), (7, 4), (4, 4, 4, 4), (4,)
VALID = {
    "Dense": (lambda **a: nn.Dense(6, name="l", **a), VECTOR),
    "Dense on a series": (lambda **a: nn.Dense(6, name="l", **a), SERIES),
    "EinsumDense": (lambda **a: einsum(**a), SERIES),
    "Conv1D": (lambda **a: nn.Conv1D(6, 3, name="l", **a), SERIES),
    "Conv2D": (lambda **a: nn.Conv2D(6, 3, strides=2, name="l", **a), IMAGE),
    "Conv2D in groups": (lambda **a: nn.Conv2D(6, 3, groups=2, name="l", **a), IMAGE),
    "Conv3D": (lambda **a: nn.Conv3D(6, 2, name="l", **a), VOLUME),
    "Conv2D of 1, same": (lambda **a: nn.Conv2D(6, 1, padding="same", strides=2, name="l", **a), IMAGE),
    "DepthwiseConv1D": (lambda **a: nn.DepthwiseConv1D(3, depth_multiplier=2, name="l", **a), SERIES),
    "DepthwiseConv2D": (lambda **a: nn.DepthwiseConv2D(3, depth_multiplier=2, name="l", **a), IMAGE),
    "SeparableConv1D": (lambda **a: nn.SeparableConv1D(6, 3, depth_multiplier=2, name="l", **a), SERIES),
    "SeparableConv2D": (lambda **a: nn.SeparableConv2D(6, 3, depth_multiplier=2, name="l", **a), IMAGE),
    "Conv2DTranspose of 1": (lambda **a: nn.Conv2DTranspose(6, 1, name="l", **a), IMAGE),
}
PADDED = {
    "Conv1D, causal": (lambda **a: nn.Conv1D(6, 3, padding="causal", name="l", **a), SERIES),
    "Conv2D, same": (lambda **a: nn.Conv2D(6, 3, padding="same", name="l", **a), IMAGE),
    "DepthwiseConv2D, same": (lambda **a: nn.DepthwiseConv2D(3, padding="same", name="l", **a), IMAGE),
    "SeparableConv2D, same": (lambda **a: nn.SeparableConv2D(6, 3, padding="same", name="l", **a), IMAGE),
    "Conv1DTranspose": (lambda **a: nn.Conv1DTranspose(6, 3, strides=2, name="l", **a), SERIES),
    "Conv2DTranspose": (lambda **a: nn.Conv2DTranspose(6, 3, name="l", **a), IMAGE),
    "Conv3DTranspose": (lambda **a: nn.Conv3DTranspose(6, 2, name="l", **a), VOLUME),
}
EVERY = {**VALID, **PADDED}


def einsum(use_bias=True):
    return nn.EinsumDense("abc,cd->abd", (None, 6), bias_axes="d" if use_bias else None, name="l")


def stack(*layers, shape=IMAGE):
    return seeded(k.Sequential([k.Input(shape, name="x"), *layers]))


def bn(name="bn", **settings):
    return nn.BatchNormalization(name=name, **settings)


def compare(model, result, tolerance=1e-5):
    """Outputs agree relative to the largest; 1e-5 for a few layers in float32."""
    x = np.random.default_rng(3).uniform(-1, 1, (4, *model.inputs[0].shape[1:])).astype(np.float32)
    old, new = (np.asarray(m(x, training=False), np.float64) for m in (model, result.model))
    assert np.abs(old).max() > 0
    assert np.abs(new - old).max() <= tolerance * np.abs(old).max()


def fold(model, plan=None, **fields):
    result = FoldBatchNorm(**fields).apply(model, Context(plan=plan or QuantPlan()))
    compare(model, result)
    return result


def left(model):
    return [node.name for node in nodes(model) if isinstance(node.layer, k.layers.BatchNormalization)]


def reasons(result):
    return {skip.layer: skip.reason for skip in result.skipped}


@pytest.mark.parametrize("settings", [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False}])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", EVERY)
def test_behind_every_kind_of_layer_it_is_folded(kind, use_bias, settings):
    build, shape = EVERY[kind]
    result = fold(stack(build(use_bias=use_bias), bn(**settings), shape=shape))
    assert [(change.layer, change.detail) for change in result.changes] == [("bn", "folded into l")]
    assert left(result.model) == []
    assert type(result.model.get_layer("bn")) is nn.Identity


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", VALID)
def test_before_every_kind_of_layer_that_does_not_pad_it_is_folded(kind, use_bias):
    build, shape = VALID[kind]
    result = fold(stack(bn(), build(use_bias=use_bias), shape=shape))
    assert [(change.layer, change.detail) for change in result.changes] == [("bn", "folded into l")]
    assert left(result.model) == []


@pytest.mark.parametrize("kind", PADDED)
def test_before_padding_only_a_scale_is_exact(kind):
    build, shape = PADDED[kind]
    result = fold(stack(bn(), build(), shape=shape))
    how = "is transposed" if "Transpose" in kind else "pads"
    assert reasons(result) == {"bn": f"its input is an input of the model; l {how}, which is not exact behind it"}
    model = stack(bn(center=False), build(), shape=shape)
    model.get_layer("bn").moving_mean.assign(np.zeros(4))
    assert left(fold(model).model) == []


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_channels_first_is_folded_along_the_channels(after, use_bias):
    """Compared by way of a copy of the weights in channels_last, since not every device runs channels_first."""
    conv = nn.Conv2D(6, 3, data_format="channels_first", use_bias=use_bias, name="l")
    layers = [conv, bn(axis=1)] if after else [bn(axis=1), conv]
    result = FoldBatchNorm().apply(stack(*layers, shape=(4, 6, 6)), Context())
    conv = nn.Conv2D(6, 3, use_bias=use_bias, name="l")
    apart = fold(stack(*([conv, bn()] if after else [bn(), conv])))
    for a, b in zip(result.model.weights, apart.model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_axis_than_the_channels_is_declined():
    result = fold(stack(nn.Conv2D(6, 3, name="l"), bn(axis=1), shape=IMAGE))
    assert reasons(result)["bn"].startswith("it normalizes axis 1, which is not the one of l's channels; ")


def test_all_of_several_in_a_row_are_folded():
    result = fold(stack(bn("a"), nn.Conv2D(6, 3, name="l"), bn("b"), nn.Activation("linear"), bn("c"), nn.ReLU()))
    assert left(result.model) == []
    assert len(result.changes) == 3


def test_what_does_nothing_at_inference_may_stand_between():
    between = [nn.Dropout(0.5), nn.Identity(), nn.GaussianNoise(0.1), nn.SpatialDropout2D(0.2)]
    assert left(fold(stack(nn.Conv2D(6, 3), *between, bn())).model) == []


def test_dropout_in_training_mode_is_not_seen_past():
    x = k.Input(VECTOR, name="x")
    y = nn.Dropout(0.5, name="drop")(nn.Dense(6, name="l")(x), training=True)
    result = FoldBatchNorm().apply(seeded(k.Model(x, bn()(y))), Context())
    assert reasons(result)["bn"].startswith("its input comes from drop, which has no weights")


DECLINED = {
    "an activation": lambda: [nn.Conv2D(6, 3, activation="relu", name="l"), bn()],
    "relu": lambda: [nn.Conv2D(6, 3, name="l"), nn.ReLU(name="relu"), bn()],
    "an unknown kind": lambda: [nn.LayerNormalization(name="ln"), bn(), nn.PReLU(name="p")],
    "flatten": lambda: [bn(), nn.Flatten(name="flat"), nn.Dense(3)],
}
REASONS = {
    "an activation": "l applies relu before it; its output is an output of the model",
    "relu": "its input comes from relu, which has no weights; its output is an output of the model",
    "an unknown kind": "its input comes from ln, of type LayerNormalization; its output goes to p, of type PReLU",
    "flatten": "its input is an input of the model; its output goes to flat, which has no weights",
}


@pytest.mark.parametrize("case", DECLINED)
def test_elsewhere_it_stays_for_a_reason(case):
    result = fold(stack(*DECLINED[case]()))
    assert result.changes == ()
    assert reasons(result) == {"bn": REASONS[case]}


def branching(second_use):
    x = k.Input(IMAGE, name="x")
    y = nn.Conv2D(6, 3, name="l")(x)
    z = bn()(y)
    return seeded(k.Model(x, nn.Add(name="add")([z, nn.ReLU()(y) if second_use else z])))


def test_a_layer_whose_output_is_used_elsewhere_keeps_its_normalization():
    assert reasons(fold(branching(True))) == {
        "bn": "l's output is used elsewhere too; its output goes to add, which has no weights"
    }
    assert left(fold(branching(False)).model) == []


def test_an_output_of_the_model_counts_as_used():
    x = k.Input(VECTOR, name="x")
    y = nn.Dense(6, name="l")(x)
    model = seeded(k.Model(x, [bn()(y), y]))
    result = FoldBatchNorm().apply(model, Context())
    assert reasons(result) == {"bn": "l's output is used elsewhere too; its output is an output of the model"}


def test_before_several_layers_it_is_folded_into_all():
    x = k.Input(IMAGE, name="x")
    y = bn()(x)
    model = seeded(k.Model(x, nn.Add()([nn.Conv2D(6, 3, name="a")(y), nn.Conv2D(6, 3, name="b")(y)])))
    assert [change.detail for change in fold(model).changes] == ["folded into a and b"]


def shared(same):
    """A convolution on two inputs, each followed by the same normalization, or only one of them."""
    x = k.Input((6, 6, 4), name="x")
    conv, norm = nn.Conv2D(6, 3, name="l"), bn()
    outputs = [norm(conv(x)), norm(conv(nn.ReLU()(x))) if same else conv(nn.ReLU()(x))]
    return seeded(k.Model(x, nn.Concatenate(name="all")(outputs)))


def test_shared_layers_are_folded_where_every_call_is_followed_by_it():
    assert left(fold(shared(True)).model) == []
    assert reasons(fold(shared(False)))["bn"].startswith("l's output is used elsewhere too")


def test_a_layer_that_is_called_on_other_inputs_too_does_not_take_what_stands_before_it():
    x = k.Input(IMAGE, name="x")
    conv = nn.Conv2D(6, 3, name="l")
    model = seeded(k.Model(x, nn.Add()([conv(bn()(x)), conv(x)])))
    assert reasons(fold(model)) == {"bn": "its input is an input of the model; l is called on other inputs too"}


def test_through_nested_models_that_are_called_twice():
    inner = k.Sequential([k.Input((6, 6, 4)), nn.Conv2D(4, 3, padding="same", name="l"), bn(), nn.ReLU()], name="inner")
    x = k.Input((6, 6, 4), name="x")
    model = seeded(k.Model(x, bn("last")(nn.Conv2D(3, 3, name="out")(inner(inner(x))))))
    result = fold(model)
    assert {change.layer: change.detail for change in result.changes} == {
        "inner/bn": "folded into inner/l",
        "last": "folded into out",
    }


def test_over_the_border_of_a_nested_model():
    inner = k.Sequential([k.Input((6, 6, 4)), nn.Conv2D(4, 3, name="l")], name="inner")
    x = k.Input((6, 6, 4), name="x")
    result = fold(seeded(k.Model(x, bn()(inner(x)))))
    assert [change.detail for change in result.changes] == ["folded into inner/l"]


def test_training_mode_a_wrapper_and_a_custom_layer_are_declined():
    class Mine(nn.BatchNormalization):
        pass

    x = k.Input(SERIES, name="x")
    y = nn.TimeDistributed(bn("inside"), name="each")(bn("trains")(nn.Dense(4)(x), training=True))
    model = seeded(k.Model(x, Mine(name="mine")(nn.Dense(3)(y))))
    assert reasons(FoldBatchNorm().apply(model, Context())) == {
        "trains": "it is called with training=True, so that it uses the statistics of the batch",
        "each/inside": "it is not called by the model itself but inside another layer",
        "mine": "a custom layer",
    }


def test_a_kernel_on_a_grid_is_left_on_it():
    plan = QuantPlan({"stem/kernel": FLOAT16})
    model = residual()
    kernel = model.get_layer("stem").kernel
    kernel.assign(kernel.numpy().astype(np.float16))
    result = FoldBatchNorm().apply(model, Context(plan=plan))
    assert reasons(result)["stem_bn"].startswith("kernel of stem is on a quantization grid already; ")
    assert [change.layer for change in result.changes] == ["depthwise_bn"]


def test_zeros_stay_zero():
    model = PruneMagnitude(sparsity=0.5).apply(residual(), Context()).model
    folded = fold(model).model
    for layer in ("stem", "depthwise"):
        before, after = (np.asarray(m.get_layer(layer).kernel) for m in (model, folded))
        assert np.any(before == 0)
        np.testing.assert_array_equal(before == 0, after == 0)


def test_statistics_that_are_not_finite_are_declined():
    model = stack(nn.Conv2D(6, 3), bn())
    model.get_layer("bn").moving_variance.assign(np.full(6, -1.0))
    result = FoldBatchNorm().apply(model, Context())
    assert reasons(result) == {"bn": "its weights or statistics give values that are no finite numbers"}


def test_only_what_is_asked_for_is_folded():
    result = fold(residual(), skip="stem_bn")
    assert result.skipped == (Skip("stem_bn", "asked for by skip 'stem_bn'", asked=True),)
    assert left(result.model) == ["stem_bn"]
