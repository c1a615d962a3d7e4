"""Magnitude pruning: exact shares, every layer type, what is left alone, and rules that change the mode."""

import numpy as np
import pytest

from kcompress.errors import UsageError
from kcompress.model.rebuild import copy
from kcompress.model.view import nodes
from kcompress.passes.base import Context, Skip
from kcompress.passes.prune.magnitude import PruneMagnitude
from kcompress.quantization.plan import FLOAT16, QuantPlan
from tests.models import dense, keras, seeded
from tests.passes.models import KERNELS, convolutional, everything

k = keras()
nn = k.layers
CUSTOM = "a custom layer; name it in layers or in a rule to prune its weights of two or more dimensions"


@pytest.fixture(scope="module")
def whole():
    """A model with every layer type; passes never change what they are given."""
    return everything()


def apply(model, plan=None, **fields):
    return PruneMagnitude(**fields).apply(model, Context(plan=plan or QuantPlan()))


def weights(model):
    return {node.qualified(w): w.values for node in nodes(model) for w in node.weights}


def is_kernel(name):
    layer, _, weight = name.rpartition("/")
    return weight in KERNELS.get(layer, ())


def zeros(values):
    return int(np.sum(values == 0))


@pytest.mark.parametrize("fields", [{}, {"sparsity": 0.7}, {"keep": 0.25}, {"sparsity": 0.999}])
def test_every_kernel_of_every_layer_type_loses_its_share_and_nothing_else_changes(whole, fields):
    share = fields.get("sparsity", 1 - fields.get("keep", 0.5))
    result = apply(whole, **fields)
    before, after = weights(whole), weights(result.model)
    for name, values in after.items():
        if is_kernel(name):
            assert zeros(values) == min(round(share * values.size), values.size - 1), name
            assert np.array_equal(values[values != 0], before[name][values != 0])
            assert np.abs(before[name][values == 0]).max() <= np.abs(values[values != 0]).min()
        else:
            assert np.array_equal(values, before[name]), name
    assert {change.layer for change in result.changes} == set(KERNELS)
    assert result.skipped == (Skip("custom", CUSTOM),)


def test_a_global_share_is_taken_of_all_kernels_together(whole):
    result = apply(whole, sparsity=0.6, ranking="global")
    before, after = weights(whole), weights(result.model)
    kernels = [name for name in after if is_kernel(name)]
    total = sum(after[name].size for name in kernels)
    assert sum(zeros(after[name]) for name in kernels) == round(0.6 * total)
    cut = max(np.abs(before[name][after[name] == 0]).max(initial=0) for name in kernels)
    assert all(np.abs(after[name][after[name] != 0]).min() >= cut for name in kernels)
    assert len({zeros(after[name]) / after[name].size for name in kernels}) > len(kernels) / 2  # not per layer


def test_globally_the_layer_with_small_weights_loses_more_but_never_all():
    model = dense()
    model.layers[1].kernel.assign(model.layers[1].kernel * 1e-3)
    after = weights(apply(model, sparsity=0.5, ranking="global").model)
    assert zeros(after["head/kernel"]) == 48 - 1  # all lie below the cut, and one is spared
    assert zeros(after["hidden/kernel"]) == round(0.5 * (128 + 48)) - 48


def test_a_threshold_zeroes_what_lies_below_it(whole):
    before, after = weights(whole), weights(apply(whole, threshold=0.2).model)
    for name in filter(is_kernel, after):
        np.testing.assert_array_equal(after[name], np.where(np.abs(before[name]) < 0.2, 0, before[name]))


def test_a_layer_that_would_lose_everything_keeps_its_largest_weight(whole):
    before, after = weights(whole), weights(apply(whole, threshold=100).model)
    for name in filter(is_kernel, after):
        assert zeros(after[name]) == after[name].size - 1
        assert np.abs(after[name]).max() == np.abs(before[name]).max()


def test_n_of_m_along_the_input_axis(whole):
    """Each group of four along the axis that is summed over keeps its two largest."""
    result = apply(whole, n=2, m=4)
    before, after = weights(whole), weights(result.model)
    for node in nodes(whole):
        for weight in node.kernels:
            name = node.qualified(weight)
            inputs = [axis for axis in weight.axes.inputs if weight.variable.shape[axis] >= 4]
            if not inputs:
                np.testing.assert_array_equal(after[name], before[name])
                continue
            kept = np.moveaxis(after[name] != 0, inputs[-1], -1)
            for start in range(0, kept.shape[-1], 4):
                group = kept[..., start : start + 4]
                assert (group.sum(-1) == min(2, group.shape[-1])).all(), name
    declined = {skip.layer: skip.reason for skip in result.skipped}
    small = "no input axis of 4 or more to take groups along"
    for name in ("depthwise1", "depthwise2", "embedding", "conv3"):  # nothing is summed, or two channels only
        assert declined[name] == small
    assert "conv2" not in declined
    assert "transposed2" not in declined


def test_groups_of_a_transposed_convolution_lie_along_its_last_axis():
    model = k.Sequential([k.Input((4, 8)), nn.Conv1DTranspose(6, 3, name="t")])
    kept = weights(apply(model, n=1, m=4).model)["t/kernel"] != 0  # (positions, outputs, inputs)
    assert (kept.reshape(3, 6, 2, 4).sum(-1) == 1).all()


def test_the_amount_shrinks_instead_of_zeroing(whole):
    before, after = weights(whole), weights(apply(whole, sparsity=0.5, amount=0.25).model)
    for name in filter(is_kernel, after):
        old, new = before[name], after[name]
        shrunk = new != old
        assert shrunk.sum() == round(0.5 * old.size)
        np.testing.assert_allclose(new[shrunk], 0.75 * old[shrunk], rtol=1e-6)  # a few float32 roundings
        assert np.abs(old[shrunk]).max() <= np.abs(old[~shrunk]).min()


def test_amount_one_removes_and_says_so():
    assert apply(dense(), sparsity=0.5, amount=1).changes[0].detail == "64 of 128 weights zeroed"
    assert apply(dense(), sparsity=0.5, amount=0.5).changes[0].detail == "64 of 128 weights shrunk by 0.5"


def test_biases_and_normalization_only_where_they_are_asked_for():
    model = convolutional()
    plain, both = weights(apply(model).model), weights(apply(model, biases=True, normalization=True).model)
    assert zeros(plain["conv_a/bias"]) == zeros(plain["bn/gamma"]) == zeros(plain["bn/beta"]) == 0
    assert zeros(both["conv_a/bias"]) == zeros(both["bn/gamma"]) == zeros(both["bn/beta"]) == 4
    assert zeros(both["bn/moving_variance"]) == zeros(both["bn/moving_mean"]) == 0
    np.testing.assert_array_equal(both["conv_a/kernel"], plain["conv_a/kernel"])


def test_only_biases_of_the_layers_that_a_rule_names():
    after = weights(apply(convolutional(), rules=[{"layers": "head", "biases": True}]).model)
    assert (zeros(after["head/bias"]), zeros(after["conv_a/bias"])) == (2, 0)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("fields", [{"layers": "custom"}, {"rules": [{"layers": "cust*"}], "layers": "none"}])
def test_a_custom_layer_s_matrices_are_pruned_where_it_is_named(whole, fields, frozen):
    model = copy(whole)
    model.get_layer("custom").trainable = not frozen
    before, after = weights(model), weights(apply(model, sparsity=0.5, **fields).model)
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    assert changed == {"custom/matrix"}
    assert zeros(after["custom/matrix"]) == after["custom/matrix"].size / 2


def test_a_frozen_layer_of_keras_is_pruned_like_any_other():
    model = convolutional()
    model.trainable = False
    after = weights(apply(model, normalization=True).model)
    assert zeros(after["conv_a/kernel"]) == after["conv_a/kernel"].size / 2
    assert zeros(after["bn/gamma"]) == 4


def test_a_shared_layer_is_pruned_once():
    shared = nn.Dense(4, name="shared")
    inputs = k.Input((4,))
    result = apply(k.Model(inputs, shared(shared(inputs))), sparsity=0.5)
    assert [change.layer for change in result.changes] == ["shared"]
    assert zeros(weights(result.model)["shared/kernel"]) == 8


def test_pruning_twice_by_the_same_share_finds_nothing_to_do():
    once = apply(dense(), sparsity=0.5).model
    again = apply(once, sparsity=0.5)
    assert again.changes == ()
    assert {skip.reason for skip in again.skipped} == {"no weight is selected that is not zero already"}
    more = weights(apply(once, sparsity=0.75).model)
    assert zeros(more["hidden/kernel"]) == 96


@pytest.mark.parametrize("fields", [{"threshold": 0}, {"keep": 1}, {"sparsity": 0}])
def test_nothing_to_prune_is_a_skip_with_a_reason(fields):
    result = apply(dense(), **fields)
    assert result.changes == ()
    assert [skip.layer for skip in result.skipped] == ["hidden", "head"]


def test_shrunk_weights_stay_on_the_grid_of_an_earlier_pass():
    model = dense()
    for layer in model.layers:
        layer.kernel.assign(FLOAT16.nearest(layer.kernel.numpy()))
    plan = QuantPlan({"hidden/kernel": FLOAT16, "head/kernel": FLOAT16})
    before, after = weights(model), weights(apply(model, plan, amount=0.3).model)  # 0.7 · w is no float16
    assert FLOAT16.holds(after["hidden/kernel"])
    shrunk = after["hidden/kernel"] != before["hidden/kernel"]
    np.testing.assert_allclose(after["hidden/kernel"][shrunk], 0.7 * before["hidden/kernel"][shrunk], rtol=2.0**-11)


def test_whole_numbers_are_declined():
    model = k.Sequential([k.Input((8,)), nn.Dense(4, name="d")])
    model.layers[0].quantize("int8")
    assert apply(model).skipped == (Skip("d", "kernel is stored as int8; prune before quantizing"),)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats_are_pruned_and_keep_their_type(dtype):
    model = seeded(k.Sequential([k.Input((4,)), nn.Dense(4, dtype=dtype, name="d")]))
    kernel = apply(model, sparsity=0.5).model.layers[0].kernel
    assert kernel.dtype == dtype
    assert np.count_nonzero(np.asarray(kernel, np.float64)) == 8


def test_layers_with_other_settings_are_ranked_by_themselves():
    model = convolutional()
    rules = [{"layers": "head", "sparsity": 0.9}]
    after = weights(apply(model, sparsity=0.5, ranking="global", rules=rules).model)
    assert zeros(after["head/kernel"]) == round(0.9 * after["head/kernel"].size)
    convs = [after["conv_a/kernel"], after["conv_b/kernel"]]
    assert sum(map(zeros, convs)) == round(0.5 * sum(w.size for w in convs))


@pytest.mark.parametrize(
    ("own", "override", "expected"),
    [
        ({"sparsity": 0.5}, {"threshold": 0.1}, {"threshold": 0.1}),
        ({"sparsity": 0.5, "amount": 0.5}, {"keep": 0.2}, {"keep": 0.2, "amount": 0.5}),
        ({"sparsity": 0.5, "ranking": "global"}, {"keep": 0.2}, {"keep": 0.2, "ranking": "global"}),
        ({"sparsity": 0.5, "ranking": "global"}, {"threshold": 0.1}, {"threshold": 0.1}),
        ({"sparsity": 0.5, "ranking": "global"}, {"n": 2, "m": 4}, {"n": 2, "m": 4}),
        ({"n": 2, "m": 4}, {"sparsity": 0.5}, {"sparsity": 0.5}),
        ({"n": 2, "m": 4}, {"m": 8}, {"n": 2, "m": 8}),
        ({"n": 2, "m": 4}, {"n": 1}, {"n": 1, "m": 4}),
        ({"threshold": 0.1}, {"biases": True}, {"threshold": 0.1, "biases": True}),
    ],
)
def test_a_rule_that_names_another_mode_replaces_the_step_s(own, override, expected):
    step = PruneMagnitude(**own, rules=[{"layers": "x", **override}])
    assert step.under(step.rules[0]) == PruneMagnitude(**expected)


def test_rules_of_other_modes_work_side_by_side():
    rules = [
        {"layers": "conv_a", "threshold": 100},
        {"layers": "conv_b", "n": 1, "m": 4},
        {"layers": "h*", "keep": 0.1},
    ]
    after = weights(apply(convolutional(), rules=rules).model)
    assert zeros(after["conv_a/kernel"]) == after["conv_a/kernel"].size - 1
    assert zeros(after["conv_b/kernel"]) == after["conv_b/kernel"].size * 3 / 4
    assert zeros(after["head/kernel"]) == round(0.9 * after["head/kernel"].size)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sparsity": 1}, "sparsity=1 is not in [0, 1); give the share of weights to zero, such as 0.7"),
        ({"sparsity": -0.1}, "sparsity=-0.1 is not in [0, 1)"),
        ({"sparsity": float("nan")}, "sparsity=nan is not in [0, 1)"),
        ({"keep": 0}, "keep=0 is not in (0, 1]"),
        ({"threshold": -1}, "threshold=-1 is not in [0, inf)"),
        ({"threshold": float("inf")}, "threshold=inf is not in [0, inf)"),
        ({"amount": 0}, "amount=0 is not in (0, 1]"),
        ({"amount": 1.5}, "amount=1.5 is not in (0, 1]"),
        ({"ranking": "local"}, "ranking=local is not one of per_layer, global"),
        ({"n": 2}, "n and m go together; give both, such as n=2,m=4"),
        ({"m": 4}, "n and m go together; give both, such as n=2,m=4"),
        ({"n": 4, "m": 4}, "n=4 is not below m=4"),
        ({"n": 0, "m": 4}, "n=0 is not a whole number in [1, inf)"),
        ({"n": 1.5, "m": 4}, "n=1.5 is not a whole number in [1, inf)"),
        ({"sparsity": 0.5, "keep": 0.5}, "sparsity and keep exclude each other"),
        ({"threshold": 0.5, "n": 2, "m": 4}, "threshold and n exclude each other"),
        ({"threshold": 0.5, "ranking": "global"}, "ranking=global ranks a share"),
        ({"n": 2, "m": 4, "ranking": "global"}, "ranking=global ranks a share"),
        ({"threshold": 0.1, "rules": [{"layers": "a", "ranking": "global"}]}, "rule for 'a': ranking=global ranks"),
        ({"sparsty": 0.5}, "no field 'sparsty'; did you mean 'sparsity'?"),
    ],
)
def test_settings_that_cannot_be_right_are_one_line(fields, message):
    with pytest.raises(UsageError) as caught:
        PruneMagnitude(**fields)
    assert str(caught.value).startswith(f"prune.magnitude: {message}")
    assert "\n" not in str(caught.value)
