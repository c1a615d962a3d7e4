"""Structured pruning: which channels go, what is left alone and why, and the same function without what was dropped.

Covers: channels/remaining_cost.py, passes/prune/_account.py, passes/prune/_changes.py, passes/prune/_formats.py,
passes/prune/_groups.py, passes/prune/_protected.py.
"""

import numpy as np
import pytest

from kcompress import data
from kcompress.errors import UnsupportedError, UsageError
from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.view import nodes, parameters
from kcompress.passes import find
from kcompress.passes.base import Context, Need
from kcompress.passes.prune.structured import PruneStructured
from kcompress.quantization.plan import QuantPlan
from tests.models import BUILDERS, batch_for, dense, keras, residual, seeded
from tests.passes.prune.chains import apply, chain, counted_macs, filters

k = keras()
nn = k.layers


def test_the_filters_of_least_norm_go_and_the_others_are_copied():
    model = chain(8, 8)
    kernel = np.asarray(model.get_layer("conv1").kernel).copy()
    kernel *= np.array([1, 9, 2, 8, 3, 7, 4, 6], np.float32) / np.abs(kernel).sum((0, 1, 2))
    model.get_layer("conv1").kernel.assign(kernel)
    cut = apply(model, ratio=0.5, criterion="l1", layers="conv1").model
    assert np.array_equal(np.asarray(cut.get_layer("conv1").kernel), kernel[..., [1, 3, 5, 7]])
    later = np.asarray(model.get_layer("conv2").kernel)[:, :, [1, 3, 5, 7]]
    assert np.array_equal(np.asarray(cut.get_layer("conv2").kernel), later)


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
