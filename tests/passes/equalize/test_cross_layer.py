"""Ranges of channels are even after it and outputs the same, wherever a scale passes from one layer to the next.

Covers: passes/equalize/_links.py.
"""

import numpy as np
import pytest

from kcompress.model.linear import linear
from kcompress.model.view import nodes
from kcompress.passes.base import Context
from kcompress.passes.equalize.cross_layer import EqualizeCrossLayer
from kcompress.passes.fold.batchnorm import FoldBatchNorm
from kcompress.passes.prune.magnitude import PruneMagnitude
from kcompress.quantization.plan import FLOAT16, QuantPlan
from tests.models import keras, residual, seeded

k = keras()
nn = k.layers
IMAGE = (8, 8, 4)
ROUNDING = 1e-5  # of the largest output, for a few layers in float32
LAYERS = {
    "Dense": lambda name: nn.Dense(4, name=name),
    "EinsumDense": lambda name: nn.EinsumDense("abcd,de->abce", (None, None, 4), bias_axes="e", name=name),
    "Conv2D": lambda name: nn.Conv2D(4, 3, padding="same", name=name),
    "Conv2D in groups": lambda name: nn.Conv2D(4, 3, groups=2, padding="same", name=name),
    "DepthwiseConv2D": lambda name: nn.DepthwiseConv2D(3, padding="same", name=name),
    "SeparableConv2D": lambda name: nn.SeparableConv2D(4, 3, padding="same", name=name),
    "Conv2DTranspose": lambda name: nn.Conv2DTranspose(4, 3, padding="same", name=name),
}


def uneven(model, seed=1):
    """Kernels whose output channels differ in range by up to 100."""
    random = np.random.default_rng(seed)
    for node in nodes(seeded(model)):
        found = linear(node.layer)
        if found:
            weights = {w.name: w.values for w in node.weights}
            new = found.scale_outputs(weights, 10 ** random.uniform(-1, 1, found.outputs(weights)))
            for weight in node.weights:
                weight.variable.assign(new[weight.name])
    return model


def stack(*layers, shape=IMAGE):
    return uneven(k.Sequential([k.Input(shape, name="x"), *layers]))


def equalize(model, plan=None, **fields):
    """Apply it and compare outputs, in float64 differences relative to the largest output."""
    result = EqualizeCrossLayer(**fields).apply(model, Context(plan=plan or QuantPlan()))
    x = np.random.default_rng(3).uniform(-1, 1, (4, *model.inputs[0].shape[1:])).astype(np.float32)
    old, new = (np.asarray(m(x, training=False), np.float64) for m in (model, result.model))
    assert np.abs(old).max() > 0
    assert np.abs(new - old).max() <= ROUNDING * np.abs(old).max()
    return result


def ranges(model, first, second):
    """Ranges of the channels between two layers, in the weights of the one and of the other."""
    found = {n.name: (linear(n.layer), {w.name: w.values for w in n.weights}) for n in nodes(model)}
    (a, wa), (b, wb) = found[first], found[second]
    return a.output_ranges(wa), b.input_ranges(wb)


def reasons(result):
    return {skip.layer: skip.reason for skip in result.skipped}


@pytest.mark.parametrize("second", LAYERS)
@pytest.mark.parametrize("first", LAYERS)
def test_ranges_on_both_sides_become_the_geometric_mean_of_what_they_were(first, second):
    model = stack(LAYERS[first]("a"), nn.ReLU(name="relu"), LAYERS[second]("b"))
    before = ranges(model, "a", "b")
    result = equalize(model)
    after = ranges(result.model, "a", "b")
    np.testing.assert_allclose(after[0], after[1], rtol=1e-5)  # float32
    np.testing.assert_allclose(after[0], np.sqrt(before[0] * before[1]), rtol=1e-5)
    assert {change.layer for change in result.changes} == {"a", "b"}
    detail = next(change.detail for change in result.changes if change.layer == "a")
    ratios = [r.max() / r.min() for r in (before[0], after[0])]
    assert detail == "with b: range ratio {:.3g} to {:.3g}".format(*ratios)


@pytest.mark.parametrize("iterations", [1, 20])
def test_a_chain_is_gone_over_until_all_of_it_is_even(iterations):
    model = stack(
        nn.Conv2D(6, 3, name="a"),
        nn.ReLU(),
        nn.DepthwiseConv2D(3, activation="relu", name="b"),
        nn.Conv2D(5, 1, name="c"),
    )
    result = equalize(model, iterations=iterations)
    for pair in ("ab", "bc"):
        one, other = ranges(result.model, *pair)
        assert np.allclose(one, other, rtol=0.01) is (iterations == 20 or pair == "bc")
    assert [c.detail.split(":")[0] for c in result.changes] == ["with b", "with a and c", "with b"]


BETWEEN = {
    "nothing": [],
    "leaky": [nn.LeakyReLU],
    "parametric": [nn.PReLU],
    "activation": [lambda: nn.Activation("relu")],
    "dropout": [lambda: nn.Dropout(0.5), nn.Identity],
    "pooling": [nn.ReLU, nn.MaxPooling2D, lambda: nn.AveragePooling2D(2, padding="same")],
    "sizes": [nn.UpSampling2D, nn.ZeroPadding2D, lambda: nn.Cropping2D(1)],
    "flatten": [nn.ReLU, nn.Flatten],
    "global": [nn.GlobalAveragePooling2D],
    "global, keeping": [lambda: nn.GlobalMaxPooling2D(keepdims=True), nn.Flatten],
}


@pytest.mark.parametrize("case", BETWEEN)
def test_a_scale_passes_what_is_homogeneous_and_keeps_channels_apart(case):
    model = stack(nn.Conv2D(6, 3, name="a"), *(build() for build in BETWEEN[case]), nn.Dense(3, name="b"))
    result = equalize(model)
    assert {change.layer for change in result.changes} == {"a", "b"}
    first, second = ranges(result.model, "a", "b")
    np.testing.assert_allclose(first, second.reshape(-1, 6).max(axis=0), rtol=1e-5)


def test_flatten_of_channels_first_is_followed_in_its_own_order():
    model = stack(nn.Dense(4, name="a"), nn.Flatten("channels_first"), nn.Dense(3, name="b"), shape=(3, 5))
    assert {change.layer for change in equalize(model).changes} == {"a", "b"}


WRONG = {
    "relu6": ([lambda: nn.ReLU(6, name="r")], "r behind it, a ReLU with max_value 6, does not pass a scale on"),
    "threshold": ([lambda: nn.ReLU(threshold=0.5, name="r")], "r behind it, a ReLU with threshold 0.5, does not"),
    "gelu": ([lambda: nn.Activation("gelu", name="g")], "g behind it, gelu, does not pass a scale on"),
    "bn": ([lambda: nn.BatchNormalization(name="n")], "n stands behind it; run fold.batchnorm first"),
    "softmax": ([lambda: nn.Softmax(name="s")], "its output goes to s, which has no weights"),
    "pooling across": ([lambda: nn.MaxPooling2D(2, data_format="channels_first", name="p")], "p behind it mixes its"),
}


@pytest.mark.parametrize("case", WRONG)
def test_anything_else_between_is_named(case):
    builders, reason = WRONG[case]
    result = equalize(stack(nn.Conv2D(6, 3, name="a"), *(build() for build in builders), nn.Conv2D(3, 1, name="b")))
    assert result.changes == ()
    assert reasons(result)["a"].startswith(reason)
    assert reasons(result)["b"] == "its output is an output of the model, and no layer before it fits either"


def test_an_own_activation_that_is_not_homogeneous_is_named():
    result = equalize(stack(nn.Dense(4, "tanh", name="a"), nn.Dense(3, name="b"), shape=(4,)))
    assert reasons(result)["a"].startswith("its activation tanh does not pass a scale on")


def branching(kind):
    x = k.Input(IMAGE, name="x")
    a, b = nn.Conv2D(4, 3, padding="same", name="a"), nn.Conv2D(4, 1, name="b")
    y = a(x)
    end = {"branch": lambda: nn.Add(name="add")([b(y), y]), "again": lambda: b(b(y)), "output": lambda: [b(y), y]}
    return uneven(k.Model(x, end[kind]()))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("branch", "its output goes to b and add"),
        ("again", "b is called on other inputs than the output of a"),
        ("output", "its output is an output of the model"),
    ],
)
def test_an_output_that_others_use_too_is_left_alone(kind, reason):
    result = EqualizeCrossLayer().apply(branching(kind), Context())
    assert result.changes == ()
    assert reasons(result)["a"].startswith(reason)


def test_shared_and_nested_layers_are_scaled_where_all_calls_agree():
    inner = k.Sequential(
        [k.Input(IMAGE), nn.Conv2D(6, 3, padding="same", name="a"), nn.ReLU(), nn.Conv2D(4, 1, name="b")], name="inner"
    )
    x = k.Input(IMAGE, name="x")
    result = equalize(uneven(k.Model(x, inner(nn.Softmax()(inner(x))))))
    assert [change.layer for change in result.changes] == ["inner/a", "inner/b"]


def test_a_channel_of_zeros_keeps_its_scale_and_zeros_stay_zero():
    model = stack(nn.Dense(6, "relu", name="a"), nn.Dense(5, name="b"), shape=(4,))
    a, b = model.layers
    a.kernel.assign(a.kernel.numpy() * (np.arange(6) != 2))
    b.kernel.assign(b.kernel.numpy() * (np.arange(6) != 4)[:, None])
    new = equalize(PruneMagnitude(sparsity=0.3).apply(model, Context()).model).model
    assert not np.any(new.layers[0].kernel.numpy()[:, 2])
    assert new.layers[0].bias.numpy()[2] == a.bias.numpy()[2]
    assert not np.any(new.layers[1].kernel.numpy()[4])
    assert new.layers[0].bias.numpy()[4] == a.bias.numpy()[4]


def test_what_is_even_already_is_left_as_it_is():
    once = equalize(stack(nn.Dense(6, "relu", name="a"), nn.Dense(5, name="b"), shape=(4,))).model
    again = equalize(once)
    assert again.changes == ()
    assert reasons(again) == {
        "a": "its channels have the same ranges as those of b already",
        "b": "its channels have the same ranges as those of a already",
    }


def test_kernels_on_a_grid_and_layers_left_out_are_declined():
    model = stack(nn.Dense(6, name="a"), nn.Dense(5, name="b"), shape=(4,))
    left_out = equalize(model, skip="b")
    assert reasons(left_out)["a"] == "b behind it is left alone, and no layer before it fits either"
    for layer in model.layers:
        layer.kernel.assign(layer.kernel.numpy().astype(np.float16))
    planned = equalize(model, plan=QuantPlan({"b/kernel": FLOAT16}))
    assert planned.changes == ()
    assert reasons(planned)["a"].startswith("kernel of b is on a quantization grid already")


def test_it_follows_batch_normalization_that_was_folded():
    model = uneven(residual())
    folded = FoldBatchNorm().apply(model, Context()).model
    assert "stem" not in {change.layer for change in equalize(model).changes}
    assert {"separable", "depthwise", "grouped"} <= {change.layer for change in equalize(folded).changes}
