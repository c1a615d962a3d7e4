"""Normalization of channels alone, in groups, or of all."""

import pytest

from tests.channels.cutting import OUTPUT, proved
from tests.models import keras

k = keras()
nn = k.layers


def model(*layers, shape=(8, 8, 3)):
    return k.Sequential([k.Input(shape), *layers, nn.Flatten(), nn.Dense(3)])


@pytest.mark.parametrize("settings", [{}, {"scale": False}, {"center": False}, {"renorm": True}], ids=str)
def test_batch_normalization_is_cut_with_its_channels(settings):
    proved(model(nn.Conv2D(6, 3), nn.BatchNormalization(**settings), nn.ReLU()), 6, {OUTPUT: 3}, seeds=1)


def test_batch_normalization_of_channels_in_front():
    layers = nn.Permute((3, 1, 2)), nn.BatchNormalization(axis=1), nn.Permute((2, 3, 1)), nn.Conv2D(5, 3)
    proved(model(nn.Conv2D(6, 3), *layers), 6 + 5, {OUTPUT: 3})


def test_batch_normalization_of_positions_is_not_cut():
    found = proved(model(nn.Conv2D(6, 3), nn.BatchNormalization(axis=1)), 6, {OUTPUT: 3})
    assert [slices.axes for slices in found.slices.values() if "gamma" in slices.variable.path] == [(None,)]


GROUPS = {4: 4, 1: 0, -1: 12, 12: 12}
"""Groups to how many units: one for each group, but a single one has to stay."""


@pytest.mark.parametrize("groups", GROUPS)
def test_groups_of_a_group_normalization_go_whole(groups):
    why = {"it is all that conv2d/kernel has along an axis": 1} if groups == 1 else {}
    layers = nn.Conv2D(12, 3), nn.GroupNormalization(groups), nn.Conv2D(5, 3)
    proved(model(*layers), GROUPS[groups] + 5, {OUTPUT: 3, **why})


def test_group_normalization_of_the_inputs_is_left_alone():
    proved(model(nn.GroupNormalization(3), nn.Conv2D(6, 3)), 6, {OUTPUT: 3})


def test_a_group_normalization_that_is_called_on_inputs_and_on_channels_pins_these():
    x, norm = k.Input((8, 8, 6)), nn.GroupNormalization(2, name="norm")
    y = nn.Conv2D(6, 3, padding="same")(nn.Conv2D(5, 3, padding="same")(x))
    y = nn.Add(name="add")([norm(x), norm(y)])
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(y))), 5, {OUTPUT: 3, "norm is called where it can't be cut": 2})


OVER_ALL = {
    "layer": lambda: nn.LayerNormalization(name="norm"),
    "layer, without weights": lambda: nn.LayerNormalization(center=False, scale=False, name="norm"),
    "layer, over all axes": lambda: nn.LayerNormalization(axis=(1, 2, 3), name="norm"),
    "root mean square": lambda: nn.RMSNormalization(name="norm"),
    "unit": lambda: nn.UnitNormalization(name="norm"),
}


@pytest.mark.parametrize("name", OVER_ALL)
def test_what_averages_over_channels_pins_them_but_not_hidden_ones(name):
    layers = nn.Conv2D(6, 3), OVER_ALL[name](), nn.Dense(16, "gelu"), nn.Dense(5)
    proved(model(*layers), 16 + 5, {OUTPUT: 3, "norm averages over it": 6}, seeds=1)


def test_layer_normalization_over_positions_leaves_channels_free():
    proved(model(nn.Conv2D(6, 3), nn.LayerNormalization(axis=[1, 2])), 6, {OUTPUT: 3})
