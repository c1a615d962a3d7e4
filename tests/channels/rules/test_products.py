"""Products of tensors with each other, where no weight tells what is summed over."""

import numpy as np
import pytest

from tests.channels.cutting import OUTPUT, proved
from tests.models import keras

k = keras()
nn, ops = k.layers, k.ops


def projected(combine, *widths, shape=(5, 6)):
    """Dense layers of these widths on one input, what `combine` makes of them, and a Dense layer of 3 outputs."""
    x = k.Input(shape)
    return k.Model(x, nn.Dense(3)(nn.Flatten()(combine(*(nn.Dense(width)(x) for width in widths)))))


def heads(x):
    return ops.transpose(ops.reshape(x, (-1, 5, 4, 2)), (0, 2, 1, 3))


def attended(q, kk, v):
    scores = ops.softmax(ops.matmul(heads(q), ops.transpose(heads(kk), (0, 1, 3, 2))))
    return nn.Dense(7)(ops.reshape(ops.transpose(ops.matmul(scores, heads(v)), (0, 2, 1, 3)), (-1, 5, 8)))


FREE = {
    "matmul over channels": (lambda a, b: ops.matmul(a, ops.transpose(b, (0, 2, 1))), (8, 8), 8),
    "matmul over positions": (lambda a, b: ops.matmul(ops.transpose(a, (0, 2, 1)), b), (8, 7), 8 + 7),
    "einsum over channels": (lambda a, b: ops.einsum("bqd,bkd->bqk", a, b), (8, 8), 8),
    "einsum of three": (lambda a, b, c: ops.einsum("bqd,bkd,bke->bqe", a, b, c), (8, 8, 6), 8 + 6),
    "outer product": (lambda a, b: ops.einsum("bqd,bke->bde", a, b), (4, 3), 4 + 3),
    "attention by hand": (attended, (8, 8, 8), 4 + 2 + 2 + 7),
    "dot over channels": (lambda a, b: nn.Dot(-1)([a, b]), (8, 8), 8),
    "dot over positions": (lambda a, b: nn.Dot((1, 1))([a, b]), (8, 7), 8 + 7),
    "gram matrix": (lambda a: ops.matmul(ops.transpose(a, (0, 2, 1)), a), (6,), 6),
}


@pytest.mark.parametrize("name", FREE)
def test_both_sides_of_a_product_give_up_the_same_channels(name):
    combine, widths, droppable = FREE[name]
    proved(projected(combine, *widths), droppable, {OUTPUT: 3}, seeds=3)


def test_channels_that_are_only_summed_over_are_listed():
    found = proved(projected(*FREE["matmul over channels"][:1], 8, 8), 8, {OUTPUT: 3})
    assert [len(ids) for ids in found.mixed] == [8]
    assert not proved(projected(*FREE["matmul over positions"][:1], 8, 7), 15, {OUTPUT: 3}).mixed


STAYS = "{} multiplies it with what stays"
PINNED = {
    "an array": (lambda a: ops.matmul(a, np.ones((8, 4), np.float32)), (8,), {STAYS.format("matmul"): 8}),
    "a sum of one side": (lambda a: ops.einsum("bqd->bq", a), (8,), {"einsum sums over it": 8}),
    "an ellipsis": (
        lambda a, b: ops.einsum("...d,...d->...", a, b),
        (8, 8),
        {"einsum has the subscripts ...d,...d->...": 16},
    ),
    "a normalized dot": (
        lambda a, b: nn.Dot(-1, normalize=True, name="dot")([a, b]),
        (8, 8),
        {"dot normalizes it or sums over several axes": 16},
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_what_is_multiplied_otherwise_is_pinned_by_name(name):
    combine, widths, pinned = PINNED[name]
    proved(projected(combine, *widths), 0, {OUTPUT: 3, **pinned}, seeds=1)
