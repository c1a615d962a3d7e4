"""Structured pruning: amounts, budgets, what is left alone and why, and the same function without what was dropped."""

import math

import numpy as np
import pytest

from kcompress import data
from kcompress.channels.channels import channels
from kcompress.channels.shares import Shares
from kcompress.errors import UnsupportedError, UsageError
from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.cost import macs
from kcompress.model.view import nodes, parameters
from kcompress.passes import find
from kcompress.passes.base import Context, Need
from kcompress.passes.prune.structured import PruneStructured
from kcompress.quantization.plan import QuantPlan
from tests.models import BUILDERS, batch_for, dense, keras, recurrent, residual, seeded
from tests.passes.models import convolutional

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


@pytest.mark.parametrize(("ratio", "left"), [(None, [14, 28]), (0.5, [10, 20]), (0.25, [15, 30]), (0.99, [1, 1])])
def test_each_group_loses_the_ratio_and_keeps_one(ratio, left):
    result = apply(chain(20, 40), **({} if ratio is None else {"ratio": ratio}))
    assert list(filters(result.model).values()) == left
    assert [change.detail for change in result.changes] == [
        f"filters 20 to {left[0]}",
        f"filters 40 to {left[1]}, inputs 20 to {left[0]}",
        f"inputs 40 to {left[1]}; the rest stays: its output is an output of the model",
    ]
    assert result.skipped == ()


def test_the_filters_of_least_norm_go_and_the_others_are_copied():
    model = chain(8, 8)
    kernel = np.asarray(model.get_layer("conv1").kernel).copy()
    kernel *= np.array([1, 9, 2, 8, 3, 7, 4, 6], np.float32) / np.abs(kernel).sum((0, 1, 2))
    model.get_layer("conv1").kernel.assign(kernel)
    cut = apply(model, ratio=0.5, criterion="l1", layers="conv1").model
    assert np.array_equal(np.asarray(cut.get_layer("conv1").kernel), kernel[..., [1, 3, 5, 7]])
    later = np.asarray(model.get_layer("conv2").kernel)[:, :, [1, 3, 5, 7]]
    assert np.array_equal(np.asarray(cut.get_layer("conv2").kernel), later)


def test_a_global_ranking_takes_more_where_channels_are_less_alike():
    model = chain(16, 16)
    even = np.asarray(model.get_layer("conv1").kernel)
    even = even / np.sqrt(np.square(even).sum((0, 1, 2)))
    model.get_layer("conv1").kernel.assign(even)
    uneven = np.asarray(model.get_layer("conv2").kernel)
    uneven = uneven / np.sqrt(np.square(uneven).sum((0, 1, 2)))
    model.get_layer("conv2").kernel.assign(uneven * np.repeat([0.1, 2], 8).astype(np.float32))
    result = apply(model, ratio=0.25, ranking="global")
    assert filters(result.model) == {"conv1": 16, "conv2": 8}
    assert [skip.layer for skip in result.skipped] == ["conv1"]
    assert result.skipped[0].reason == "none of its channels ranks low enough to go"
    assert result.skipped[0].expected


@pytest.mark.parametrize("ranking", ["per_group", "global"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("budget", ["macs", "parameters", "bytes"])
def test_a_budget_is_met_within_two_percent(budget, share, ranking):
    model = chain(24, 48, 48)
    result = apply(model, **{budget: share}, ranking=ranking)
    before, after = (counted_macs(m) if budget == "macs" else m.count_params() for m in (model, result.model))
    assert share - 0.02 <= after / before <= share
    (goal,) = result.goals
    assert (goal.name, goal.limit, goal.why) == (budget, share, "")
    assert goal.reached == pytest.approx(after / before)


def test_what_is_left_is_a_multiple_and_no_layer_falls_below_the_least():
    result = apply(chain(24, 48, 20), macs=0.4, round_to=8)
    assert all(width % 8 == 0 or (name, width) == ("conv3", 20) for name, width in filters(result.model).items())
    least = apply(chain(24, 48, 20), ratio=0.9, min_channels=5)
    assert list(filters(least.model).values()) == [5, 5, 5]


def trunk():
    """Sums and a grouped convolution that tie many channels to each other, and a narrow layer beside them."""
    inputs = k.Input((8, 8, 3))
    x = nn.Conv2D(16, 3, padding="same", name="stem")(inputs)
    y = nn.Conv2D(24, 1, name="beside", activation="relu")(x)
    x = nn.Add()([x, nn.Conv2D(16, 3, padding="same", groups=4, name="grouped")(nn.Conv2D(16, 1, name="b")(x))])
    x = nn.Concatenate()([nn.GlobalAveragePooling2D()(each) for each in (x, y)])
    return seeded(k.Model(inputs, nn.Dense(3, name="head")(x)))


@pytest.mark.parametrize("share", [0.35, 0.5, 0.6, 0.75, 0.9])
def test_a_budget_is_met_closely_where_units_are_large(share):
    model = trunk()
    result = apply(model, macs=share)
    assert share - 0.02 <= result.goals[0].reached <= share
    assert result.goals[0].reached == pytest.approx(macs(result.model) / macs(model))


def test_channels_of_groups_and_of_heads_lose_the_ratio_as_a_whole():
    """A unit is a whole group, or a place in every group, so 16 channels are 4 by 4 units, of which 3 by 3 stay."""
    result = apply(trunk(), ratio=0.45)
    assert filters(result.model) == {"stem": 9, "b": 9, "grouped": 9, "beside": 13}
    assert filters(apply(trunk(), ratio=0.9, min_channels=8).model) == {"stem": 9, "b": 9, "grouped": 9, "beside": 8}
    inputs = k.Input((5, 8))
    x = nn.Dense(12, name="width")(inputs)
    x = nn.MultiHeadAttention(4, 8, name="attention")(x, x)
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(nn.GlobalAveragePooling1D()(x))))
    layer = apply(model, ratio=0.45).model.get_layer("attention")
    assert (layer.num_heads, layer.key_dim) == (3, 6)
    for share in (0.3, 0.5, 0.7):
        layer = apply(model, ratio=share, round_to=8).model.get_layer("attention")
        assert layer.num_heads * layer.key_dim % 8 == 0 < layer.num_heads < 4


def test_a_budget_out_of_reach_gives_the_closest_and_names_who_is_in_the_way():
    model = chain(8, 8)
    result = apply(model, macs=0.05, min_channels=4)
    (goal,) = result.goals
    assert list(filters(result.model).values()) == [4, 4]
    assert 0.05 < goal.reached == pytest.approx(counted_macs(result.model) / counted_macs(model))
    assert goal.why == "conv1, conv2 at the least number of channels"


def test_a_model_without_a_channel_to_remove_says_so():
    model = seeded(k.Sequential([k.Input((8,)), nn.Dense(3, name="head")]))
    result = apply(model)
    (goal,) = result.goals
    assert goal.reached is None
    assert goal.why == "no channel of the model can be removed: head (its output is an output of the model)"
    assert result.changes == ()
    assert apply(dense(), skip="*").goals == ()


def test_rules_skip_layers_or_give_them_another_ratio():
    rules = [{"layers": "conv1", "skip": True}, {"layers": "conv3", "ratio": 0.75}]
    result = apply(chain(8, 8, 8), ratio=0.5, rules=rules)
    assert filters(result.model) == {"conv1": 8, "conv2": 4, "conv3": 2}
    assert [(skip.layer, skip.asked) for skip in result.skipped] == [("conv1", True)]


def test_a_rule_for_a_ratio_holds_beside_a_budget():
    model = chain(16, 16, 16)
    result = apply(model, macs=0.5, rules=[{"layers": "conv2", "ratio": 0.25}])
    assert filters(result.model)["conv2"] == 12
    assert 0.48 <= counted_macs(result.model) / counted_macs(model) <= 0.5


def test_channels_coupled_with_a_layer_that_is_left_alone_stay():
    """The sum brings the channels of stem and grouped together, so one stays for the sake of the other."""
    result = apply(residual(), ratio=0.5, skip=["stem", "separable"])
    reasons = {skip.layer: skip.reason for skip in result.skipped}
    assert reasons["stem"] == "asked for by skip 'stem'"
    assert reasons["grouped"] == "stem is left alone: asked for by skip 'stem'"
    result = apply(residual(), ratio=0.5, layers="grouped")
    assert {skip.layer: skip.reason for skip in result.skipped} == {"grouped": "stem is not selected"}


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("fields", [{"ratio": 0.5}, {"parameters": 0.5, "ranking": "global"}])
def test_figures_are_those_of_the_rebuilt_model(name, fields):
    model = BUILDERS[name]()
    result = apply(model, **fields)
    assert result.changes
    assert parameters(result.model) == result.model.count_params() < model.count_params()
    for goal in result.goals:
        assert goal.reached == pytest.approx(result.model.count_params() / model.count_params())
    assert all(np.isfinite(y).all() for y in KerasRunner(result.model)(batch_for(model)))


@pytest.mark.parametrize("build", [convolutional, residual, recurrent, lambda: chain(9, 5)])
def test_shares_are_those_of_the_rebuilt_model(build):
    """Counted without building it, against the counter of multiply-adds and parameters on the model built."""
    from kcompress.channels.cut import cut

    model = build()
    found = channels(model)
    random = np.random.default_rng(0)
    dropped = random.random(found.units.count) < 0.4
    dropped[list(found.units.pinned)] = False
    for ids in [a for s in found.slices.values() for a in s.axes if a is not None]:
        if not found.units.stay(ids, dropped).any():
            dropped[found.units.of(ids)] = False
    smaller = cut(model, found, dropped)
    assert Shares(model, found, "macs").left(dropped) == pytest.approx(macs(smaller))
    assert Shares(model, found, "parameters").left(dropped) == smaller.count_params() < model.count_params()
    assert Shares(model, found, "bytes").left(dropped) == 4 * smaller.count_params()


def test_steps_end_where_one_step_does_and_rank_anew():
    model = chain(24, 48)
    result = apply(model, macs=0.5, steps=3)
    (goal,) = result.goals
    assert 0.48 <= goal.reached <= 0.5
    assert goal.reached == pytest.approx(counted_macs(result.model) / counted_macs(model))
    assert result.changes[0].detail.count(", then ") == 2
    stages = PruneStructured(ratio=0.488, steps=3, round_to=2).stages()
    assert [(stage.steps, stage.round_to) for stage in stages] == [(1, 2)] * 3
    assert all(stage.ratio == pytest.approx(0.2) for stage in stages)


def test_steps_take_no_more_than_a_rule_says():
    result = apply(chain(64, 64), ratio=0.75, steps=2, rules=[{"layers": "conv2", "ratio": 0.5}])
    assert filters(result.model) == {"conv1": 16, "conv2": 32}


def test_steps_may_run_out_of_channels():
    result = apply(chain(4, 4), ratio=0.99, steps=3)
    assert filters(result.model) == {"conv1": 1, "conv2": 1}
    model = chain(4, 4)
    result = apply(model, macs=0.001, steps=3)
    (goal,) = result.goals
    assert filters(result.model) == {"conv1": 1, "conv2": 1}
    assert goal.reached == pytest.approx(counted_macs(result.model) / counted_macs(model))
    assert goal.why == "conv1, conv2 at the least number of channels"


def test_needs_data_only_for_criteria_that_look_at_it():
    assert PruneStructured().required == frozenset()
    assert PruneStructured(criterion="zeros").required == {Need.CALIBRATION}
    assert PruneStructured(criterion="taylor").required == {Need.TRAINING}
    assert PruneStructured(rules=[{"layers": "a", "criterion": "activation"}]).required == {Need.CALIBRATION}


@pytest.mark.parametrize("criterion", ["l1", "l2", "activation", "zeros", "taylor", "geometric_median", "random"])
def test_every_criterion_prunes(criterion):
    model = chain(8, 8)
    x = next(iter(batch_for(model, count=12).values()))
    ctx = Context(data=data.resolve((x, np.arange(12) % 3)))
    result = PruneStructured(criterion=criterion, ratio=0.5).apply(model, ctx)
    assert list(filters(result.model).values()) == [4, 4]


def test_a_layer_without_a_scale_is_declined_by_the_criterion_batchnorm():
    inputs = k.Input((6, 6, 2))
    x = nn.Conv2D(8, 3, use_bias=False, name="first")(inputs)
    x = nn.ReLU()(nn.BatchNormalization(name="bn")(x))
    x = nn.Conv2D(8, 3, name="second")(x)
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(nn.GlobalMaxPooling2D()(x))))
    gamma = np.arange(8, 0, -1, dtype=np.float32)
    model.get_layer("bn").gamma.assign(gamma)
    result = apply(model, criterion="batchnorm", ratio=0.5)
    assert filters(result.model) == {"first": 4, "second": 8}
    assert np.array_equal(np.asarray(result.model.get_layer("bn").gamma), gamma[:4])
    details = {change.layer: change.detail for change in result.changes}
    assert details["second"] == "inputs 8 to 4; the rest stays: it has no batch normalization with a scale"
    assert "head" not in details


def test_quantized_weights_stay_on_their_grids():
    model = chain(8, 8)
    rounded = find("quantize.weights")(bits=4).apply(model, Context())
    plan = QuantPlan().updated(rounded.formats)
    result = apply(rounded.model, plan, ratio=0.5)  # the base class checks the grids
    after = plan.updated(result.formats)
    assert len(after.weights["conv1/kernel"].scale) == 4
    assert all(after.weights[n.qualified(w)].holds(w.values) for n in nodes(result.model) for w in n.kernels)


def test_queries_on_a_float16_grid_keep_their_width_and_lose_heads():
    inputs = k.Input((5, 8))
    x = nn.Dense(12, name="width")(inputs)
    x = nn.MultiHeadAttention(4, 6, name="attention")(x, x)
    model = seeded(k.Model(inputs, nn.Dense(2, name="head")(nn.GlobalAveragePooling1D()(x))))
    rounded = find("quantize.float16")().apply(model, Context())
    plan = QuantPlan().updated(rounded.formats)
    result = apply(rounded.model, plan, ratio=0.75)  # the base class checks the grid
    layer = result.model.get_layer("attention")
    assert (layer.num_heads, layer.key_dim) == (2, 6)
    free = apply(rounded.model, ratio=0.75).model.get_layer("attention")
    assert (free.num_heads, free.key_dim) == (2, 3)


def test_the_bytes_budget_counts_bits_of_quantized_weights():
    model = chain(32, 32)
    rounded = find("quantize.weights")(bits=2, layers="conv2").apply(model, Context())
    plan = QuantPlan().updated(rounded.formats)
    (light,) = apply(rounded.model, plan, bytes=0.5).goals
    assert 0.47 <= light.reached <= 0.5
    found = channels(rounded.model)
    bits = {id(w.variable): 2 for n in nodes(rounded.model) for w in n.kernels if n.name == "conv2"}
    total = Shares(rounded.model, found, "bytes", bits).total
    assert total == 4 * model.count_params() - 32 * 32 * 9 * (4 - 2 / 8)


def test_compile_state_and_frozen_layers_survive():
    model = chain(8, 8)
    model.get_layer("conv1").trainable = False
    model.compile("sgd", "mse", metrics=["mae"])
    result = apply(model, ratio=0.5)
    assert type(result.model.optimizer) is type(model.optimizer)
    assert result.model.loss == "mse"
    assert [layer.trainable for layer in result.model.layers] == [layer.trainable for layer in model.layers]
    assert [w.path for w in result.model.weights] == [w.path for w in model.weights]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"macs": 1.4}, "macs=1.4 is not in (0, 1]; give the share of multiply-adds to keep, such as 0.5"),
        ({"ratio": 1}, "ratio=1 is not in [0, 1); give the share of channels to remove, such as 0.5"),
        ({"macs": 0.5, "ratio": 0.5}, "ratio and macs exclude each other; give one of ratio, macs, parameters, bytes"),
        ({"criterion": "l3"}, "random; give what channels are ranked by, such as l2"),
        ({"round_to": 0}, "round_to=0 is not a whole number in [1, 256]"),
        ({"rules": [{"layers": "a", "macs": 0.5}]}, "rule for 'a': macs is for the whole model; give ratio in a rule"),
        ({"rules": [{"layers": "a", "steps": 2}]}, "rule for 'a': steps is for the whole pass; leave it out of rules"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_to_do(fields, message):
    with pytest.raises(UsageError) as error:
        PruneStructured(**fields)
    assert str(error.value).startswith("prune.structured: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_multiply_adds_of_inputs_of_any_size_are_no_budget():
    inputs = k.Input((None, None, 3))
    x = nn.GlobalMaxPooling2D()(nn.Conv2D(8, 3)(inputs))
    model = seeded(k.Model(inputs, nn.Dense(2)(x)))
    with pytest.raises(UsageError, match=r"macs=0\.5 can't be met, .* give parameters or bytes instead$"):
        apply(model, macs=0.5)
    assert apply(model, parameters=0.5).changes


def test_a_subclassed_model_is_refused_by_name():
    class Own(k.Model):
        def __init__(self):
            super().__init__(name="own")
            self.head = nn.Dense(2)

        def call(self, x):
            return self.head(x)

    model = Own()
    model(np.ones((1, 3), np.float32))
    with pytest.raises(UnsupportedError, match=r"'own' is a subclassed model; give it fixed inputs"):
        apply(model)
