"""How many channels of each group go: ratios, budgets and rankings."""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.remaining_cost import RemainingCost
from kcompress.errors import UsageError
from kcompress.model.cost import macs
from kcompress.model.view import nodes
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import QuantPlan
from tests.models import keras, recurrent, residual, seeded
from tests.passes.models import convolutional
from tests.passes.prune.chains import apply, chain, counted_macs, filters

k = keras()
nn = k.layers


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


def test_the_bytes_budget_counts_bits_of_quantized_weights():
    model = chain(32, 32)
    rounded = find("quantize.weights")(bits=2, layers="conv2").apply(model, Context())
    plan = QuantPlan().updated(rounded.formats)
    (light,) = apply(rounded.model, plan, bytes=0.5).goals
    assert 0.47 <= light.reached <= 0.5
    found = channels(rounded.model)
    bits = {id(w.variable): 2 for n in nodes(rounded.model) for w in n.kernels if n.name == "conv2"}
    total = RemainingCost(rounded.model, found, "bytes", bits).total
    assert total == 4 * model.count_params() - 32 * 32 * 9 * (4 - 2 / 8)


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
    assert RemainingCost(model, found, "macs").remaining(dropped) == pytest.approx(macs(smaller))
    assert RemainingCost(model, found, "parameters").remaining(dropped) == smaller.count_params() < model.count_params()
    assert RemainingCost(model, found, "bytes").remaining(dropped) == 4 * smaller.count_params()


def test_multiply_adds_of_inputs_of_any_size_are_no_budget():
    inputs = k.Input((None, None, 3))
    x = nn.GlobalMaxPooling2D()(nn.Conv2D(8, 3)(inputs))
    model = seeded(k.Model(inputs, nn.Dense(2)(x)))
    with pytest.raises(UsageError, match=r"macs=0\.5 can't be met, .* give parameters or bytes instead$"):
        apply(model, macs=0.5)
    assert apply(model, parameters=0.5).changes
