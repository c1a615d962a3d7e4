"""Flatten, Reshape, Permute and their like: which positions of the new axes belong to which channels."""

import functools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.channels.rules.shaping import blocks, laid_out
from kcompress.channels.rules.visit import Visit
from kcompress.channels.trace import Tensor, Trace
from tests.channels.cutting import OUTPUT, proved
from tests.models import keras

k = keras()
nn, ops = k.layers, k.ops


def between(shape, change, channels=(6,)):
    """Convolutions of an image or Dense layers of a vector, then `change`, then a Dense layer of 3 outputs."""
    x = k.Input(shape)
    y = x
    for count in channels:
        y = nn.Conv2D(count, 3)(y) if len(shape) == 3 else nn.Dense(count)(y)
    return k.Model(x, nn.Dense(3)(nn.Flatten()(change(y))))


IMAGE, VECTOR, ROWS = (8, 8, 3), (4,), (5, 4)
FREE = {
    "flatten": (IMAGE, lambda x: nn.Flatten()(x)),
    "flatten with channels in front": (IMAGE, lambda x: nn.Flatten("channels_first")(nn.Permute((3, 1, 2))(x))),
    "positions as one axis": (IMAGE, lambda x: nn.Reshape((36, 6))(x)),
    "one axis as positions": (IMAGE, lambda x: nn.Conv2D(4, 2)(nn.Reshape((6, 6, 6))(nn.Reshape((-1, 6))(x)))),
    "permute": (IMAGE, lambda x: nn.Conv1D(4, 2)(nn.Reshape((6, 36))(nn.Permute((3, 2, 1))(x)))),
    "transpose": (IMAGE, lambda x: ops.transpose(x, (0, 3, 1, 2))),
    "swap and move": (IMAGE, lambda x: ops.moveaxis(ops.swapaxes(x, 1, -1), [1, 2], [-1, 1])),
    "length 1": (VECTOR, lambda x: ops.squeeze(ops.expand_dims(ops.reshape(x, (-1, 1, 6, 1)), 1), (1, 2))),
    "repeated": (VECTOR, lambda x: nn.RepeatVector(3)(x)),
    "space to channels": (IMAGE, lambda x: ops.nn.space_to_depth(x, 2)),
}


@pytest.mark.parametrize("name", FREE)
def test_each_channel_can_go_wherever_its_positions_are(name):
    shape, change = FREE[name]
    extra = 4 if name in ("one axis as positions", "permute") else 0
    why = {"conv1d slides along it": 6} if name == "permute" else {}
    proved(between(shape, change), (0 if why else 6) + extra, {OUTPUT: 3, **why})


def test_a_vector_that_becomes_an_image_goes_by_its_channels():
    """What is dropped of the channels is dropped at all positions of the vector; rows and columns stay."""
    x = k.Input((5,))
    y = nn.Reshape((3, 3, 4))(nn.Dense(36)(x))
    y = nn.Conv2DTranspose(6, 3, strides=2, name="up")(y)
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(y))), 4 + 6, {OUTPUT: 3, "up slides along it": 6})


def test_heads_that_are_split_and_joined_again_leave_heads_and_widths_free():
    x = k.Input(ROWS)
    y = ops.transpose(ops.reshape(nn.Dense(12)(x), (-1, 5, 4, 3)), (0, 2, 1, 3))
    y = ops.reshape(ops.transpose(ops.tanh(y), (0, 2, 1, 3)), (-1, 5, 12))
    proved(k.Model(x, nn.Dense(3)(nn.Flatten()(nn.Dense(7)(y)))), 4 + 3 + 7, {OUTPUT: 3})


def test_a_channel_shuffle_keeps_groups_and_places():
    x = k.Input(IMAGE)
    y = nn.Conv2D(12, 1, groups=3)(nn.Conv2D(12, 3)(x))
    y = nn.Reshape((6, 6, 12))(nn.Permute((1, 2, 4, 3))(nn.Reshape((6, 6, 3, 4))(y)))
    model = k.Model(x, nn.Dense(3)(nn.Flatten()(nn.Conv2D(8, 1, groups=4)(y))))
    proved(model, 4 + 3 + 4 + 2, {OUTPUT: 3})  # places before, groups, places after, places of the last filters


def test_channels_that_are_laid_out_as_two_axes_and_read_so_go_by_rows_and_columns():
    x = k.Input(VECTOR)
    y = nn.EinsumDense("abc,bcd->ad", 7)(nn.Reshape((4, 3))(nn.Dense(12)(x)))
    proved(k.Model(x, nn.Dense(3)(y)), 4 + 3 + 7, {OUTPUT: 3})


def test_depth_to_space_moves_blocks_of_channels_together():
    proved(between(IMAGE, lambda x: nn.Conv2D(4, 3)(ops.nn.depth_to_space(x, 2)), (12,)), 12 // 4 + 4, {OUTPUT: 3})


def test_one_axis_that_becomes_parts_of_two_others_is_pinned():
    change = lambda x: nn.Reshape((4, 9), name="mixer")(x)  # noqa: E731  (6, 6) of rows and channels
    model = between((6, 4), change)
    proved(model, 0, {OUTPUT: 3, "mixer lays it out across axes": 6})


def test_an_axis_of_unknown_length_pins_what_is_joined_with_it():
    x = k.Input((None, 4))
    y = nn.Reshape((-1, 2), name="mixer")(nn.Dense(6)(nn.Dense(8)(x)))
    model = k.Model(x, nn.Dense(3)(nn.GlobalMaxPooling1D()(y)))
    proved(model, 8, {OUTPUT: 3, "mixer lays it out across axes": 6}, lengths=(7, 9))


def test_channels_of_an_unknown_number_of_rows_are_followed():
    x = k.Input((None, 4))
    y = nn.Reshape((-1, 6))(ops.expand_dims(nn.Dense(6)(x), 2))
    model = k.Model(x, nn.Dense(3)(nn.GlobalMaxPooling1D()(y)))
    proved(model, 6, {OUTPUT: 3}, lengths=(7, 9))


shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def refactored(shape, data):
    """Another shape with as many elements."""
    total, other = math.prod(shape), []
    while total > 1:
        other.append(data.draw(st.sampled_from([n for n in range(2, total + 1) if total % n == 0])))
        total //= other[-1]
    return other


@settings(max_examples=200)
@given(shapes, st.data())
def test_blocks_hold_all_axes_in_order_and_as_many_elements_on_both_sides(shape, data):
    other = refactored(shape, data)
    found = list(blocks((None, *shape), (None, *other)))[::-1]
    for side, sizes in enumerate((shape, other)):
        assert [n for block in found for n in block[side]] == [n for n, size in enumerate((0, *sizes)) if size != 1]
    for one, two in found[1:]:
        assert math.prod(shape[n - 1] for n in one) == math.prod(other[n - 1] for n in two)


@settings(max_examples=200)
@given(shapes, st.data(), st.randoms(use_true_random=False))
def test_an_element_is_gone_in_the_new_shape_if_it_is_in_the_old_one(shape, data, random):
    """By brute force: lay out by NumPy which elements are left, and compare with what the new axes say."""
    other = refactored(shape, data)
    trace = Trace({})
    followed = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    axes = [trace.identities.new(n) if known else None for n, known in zip(shape, followed, strict=True)]
    visit = Visit(trace, None, SimpleNamespace(name="layer"), (), (), (), None, None)
    made = laid_out(visit, Tensor((None, *shape), (None, *axes)), (None, *other))[1:]
    units = trace.identities.resolve()
    kept = {*units.pinned, *(unit for ids in axes if ids is not None for unit in units.in_every_position(ids))}
    dropped = np.array([unit not in kept and random.random() < 0.4 for unit in range(units.count)], bool)

    def left(sizes, axes):
        parts = [np.ones(n, bool) if a is None else units.stay(a, dropped) for n, a in zip(sizes, axes, strict=True)]
        return functools.reduce(np.logical_and.outer, parts, np.array(True))

    np.testing.assert_array_equal(left(shape, axes).reshape(other), left(other, made))
