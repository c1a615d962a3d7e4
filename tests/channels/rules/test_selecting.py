"""Putting tensors together and taking parts of them, along the axis of channels and along others."""

import numpy as np
import pytest

from tests.channels.cutting import OUTPUT, proved
from tests.models import keras

k = keras()
nn, ops = k.layers, k.ops


def changed(change, channels=12, shape=(8, 8, 3)):
    """A convolution, `change`, and a Dense layer for each tensor that it gives."""
    x = k.Input(shape)
    made = change(nn.Conv2D(channels, 3)(x))
    outputs = [nn.Dense(3)(nn.Flatten()(y)) for y in (made if isinstance(made, (list, tuple)) else [made])]
    return k.Model(x, outputs)


def test_channels_side_by_side_go_each_for_itself():
    x = k.Input((8, 8, 3))
    y = nn.Conv2D(6, 3)(x)
    y = nn.Concatenate()([y, nn.Conv2D(5, 3, padding="same")(y), nn.BatchNormalization()(y)])
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(nn.Conv2D(4, 1)(y)))), 6 + 5 + 4, {OUTPUT: 3})


def test_channels_beside_the_inputs_are_free_and_the_inputs_stay():
    x = k.Input((8, 8, 3))
    y = nn.Concatenate(name="join")([nn.Conv2D(6, 3, padding="same")(x), x])
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(y))), 6, {OUTPUT: 3, "join puts it beside what stays": 3})


def test_tensors_that_are_joined_along_positions_share_channels():
    x = k.Input((8, 8, 3))
    y = nn.Concatenate(axis=1)([nn.Conv2D(6, 3)(x), nn.Conv2D(6, 3)(x)])
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(y))), 6, {OUTPUT: 3})


def test_channels_that_are_joined_with_an_array_along_positions_stay():
    x = k.Input((8, 3))
    first = nn.Conv1D(5, 3, padding="same")(x)
    y = ops.concatenate([nn.Conv1D(6, 3)(first), np.ones((1, 2, 6), np.float32)], axis=1)
    model = k.Model(x, nn.Dense(3)(nn.Flatten()(y)))
    proved(model, 5, {OUTPUT: 3, "concatenate brings it together with what stays": 6}, lengths=())


def test_an_array_beside_channels_stays_and_they_are_free():
    x = k.Input((6,), batch_size=5)
    y = ops.concatenate([nn.Dense(6)(x), np.ones((5, 2), np.float32)], axis=-1)
    proved(k.Model(x, nn.Dense(3)(y)), 6, {OUTPUT: 3, "concatenate puts it beside what stays": 2})


FREE = {
    "halves": (lambda x: (lambda a, b: a * ops.sigmoid(b))(*ops.split(x, 2, axis=-1)), 6),
    "unequal parts": (lambda x: ops.split(x, [2, 5], axis=-1), 12),
    "parts of positions": (lambda x: ops.add(*ops.split(x, 2, axis=1)), 12),
    "a range": (lambda x: x[..., 3:9], 12),
    "ranges from either end": (lambda x: [x[..., :5], x[..., -4:], x[:, 1:3, :-1, 2:]], 12),
    "rows and a new axis": (lambda x: x[:, 0, None, ::2], 12),
    "overlapping ranges": (lambda x: x[..., :8] + x[..., 4:], 4),
    "stack": (lambda x: ops.stack([x, ops.relu(x)], axis=1), 12),
    "unstack": (lambda x: ops.unstack(x, axis=1)[0] + ops.unstack(x, axis=1)[2], 12),
    "tile": (lambda x: ops.tile(x, (1, 1, 2, 2)), 12),
    "repeat": (lambda x: ops.repeat(ops.repeat(x, 2, axis=1), 3, axis=-1), 12),
    "flip": (lambda x: ops.flip(x, axis=-1) + x, 6),
    "pad positions": (lambda x: ops.pad(x, [[0, 0], [1, 2], [0, 0], [0, 0]]), 12),
    "broadcast": (lambda x: ops.broadcast_to(ops.max(x, (1, 2), keepdims=True), (5, 4, 4, 12)), 12),
}


@pytest.mark.parametrize("name", FREE)
def test_parts_and_copies_of_channels_are_followed(name):
    change, droppable = FREE[name]
    outputs = {"unequal parts": 9, "ranges from either end": 9}.get(name, 3)
    proved(changed(change), droppable, {OUTPUT: outputs}, seeds=3)


def test_zeros_beside_channels_go_with_what_is_added_to_them():
    """The shortcut of a narrow residual network: fewer channels, and zeros for the new ones."""
    x = k.Input((8, 8, 3))
    y = nn.Conv2D(6, 3, padding="same")(x)
    y = nn.Add()([nn.Conv2D(10, 3, padding="same")(y), ops.pad(y, [[0, 0], [0, 0], [0, 0], [2, 2]])])
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(y))), 10, {OUTPUT: 3}, seeds=3)


MIRRORED = "pad pads it with what it has"
PINNED = {
    "one channel": (lambda x: [x[..., 2], x], "getitem picks one of it"),
    "a list of channels": (lambda x: ops.take(x, [1, 5], axis=-1), "take, of type Take, uses it"),
    "steps": (lambda x: x[..., ::2], "getitem takes it in steps"),
    "another padding": (lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), "reflect"), MIRRORED),
    "channels as tensors": (lambda x: ops.unstack(x, axis=-1)[1], "unstack takes it apart"),
}


@pytest.mark.parametrize("name", PINNED)
def test_what_is_picked_otherwise_is_pinned_and_what_comes_before_is_not(name):
    change, why = PINNED[name]
    model = changed(lambda x: change(nn.Conv2D(6, 1)(x)))
    outputs = 3 * len(model.outputs)
    proved(model, 12, {OUTPUT: outputs, "get_item" + why[7:] if why.startswith("getitem") else why: 6}, seeds=1)


def test_the_only_channel_that_is_taken_stays():
    model = changed(lambda x: [ops.squeeze(x[..., 2:3], -1), x])
    proved(model, 11, {OUTPUT: 6, "it is all that get_item has along an axis": 1}, seeds=3)


def test_a_part_of_a_model_that_is_called_on_channels_and_on_what_stays_is_not_cut():
    """Sizes in it are the same for both calls."""
    i = k.Input((8, 8, 6))
    inner = k.Model(i, ops.concatenate(ops.split(i, 2, axis=-1)[::-1], axis=-1), name="inner")
    x = k.Input((8, 8, 6))
    y = nn.Conv2D(6, 3, padding="same")(nn.Conv2D(5, 3, padding="same")(x))
    y = nn.Dense(3)(nn.Flatten()(nn.Concatenate()([inner(y), inner(x)])))
    sizes = "inner/input_layer is called where its sizes can't be changed"
    proved(k.Model(x, y), 5, {OUTPUT: 3, "concatenate puts it beside what stays": 6, sizes: 6})
