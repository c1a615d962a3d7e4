"""Attention: heads, widths of keys and of values, and outputs."""

from collections import Counter

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from kcompress.errors import UnsupportedError
from kcompress.model.rebuild import copy
from tests.channels.cutting import OUTPUT, proved, some_units
from tests.models import keras

k = keras()
nn, ops = k.layers, k.ops


def end(x):
    return nn.Dense(3)(nn.Flatten()(x))


def test_heads_widths_and_the_residual_stream_can_go():
    """4 heads, keys and values 6 wide, and the 12 channels of the stream, which queries give to the outputs."""
    x = k.Input((5, 7))
    y = nn.Dense(12)(x)
    y = nn.Add()([y, nn.MultiHeadAttention(4, 6)(y, y)])
    found = proved(k.Model(x, end(y)), 4 + 6 + 12, {OUTPUT: 3}, seeds=4)
    sources = [(source.layer.split("/")[-1], source.what, len(source.ids)) for source in found.sources]
    assert ("query", "heads", 4) in sources and ("value", "width", 6) in sources


def test_values_of_another_width_and_outputs_of_a_given_one_are_units_of_their_own():
    x = k.Input((5, 7))
    attention = nn.MultiHeadAttention(3, 6, value_dim=5, output_shape=8, use_bias=False)
    proved(k.Model(x, end(attention(nn.Dense(9)(x), nn.Dense(4)(x)))), 3 + 6 + 5 + 8 + 9 + 4, {OUTPUT: 3}, seeds=3)


def test_queries_keys_and_values_of_three_widths_are_followed_across_models():
    query, key, value = k.Input((5, 4)), k.Input((6, 5)), k.Input((6, 3))
    y = nn.MultiHeadAttention(2, 4, output_shape=(3, 4))(nn.Dense(7)(query), nn.Dense(6)(value), key=nn.Dense(5)(key))
    y = nn.Dense(3)(nn.Flatten()(y))
    proved(k.Model([query, key, value], y), 2 + 4 + 3 + 4 + 7 + 6 + 5, {OUTPUT: 3}, seeds=3)


def test_masks_are_none_of_the_channels():
    tokens, mask = k.Input((5,), dtype="int32"), k.Input((5, 5), dtype="bool")
    y = nn.Embedding(50, 12, mask_zero=True)(tokens)
    y = nn.MultiHeadAttention(4, 3)(y, y, attention_mask=mask, use_causal_mask=True)
    y = nn.MultiHeadAttention(2, 3)(y, y, attention_mask=np.tril(np.ones((1, 5, 5), bool)))
    proved(k.Model([tokens, mask], nn.Dense(3)(nn.GlobalAveragePooling1D()(y))), 12 + 4 + 3 + 2 + 3, {OUTPUT: 3})


def test_a_mask_for_each_head_pins_heads_and_channels():
    x = k.Input((5, 7))
    y = nn.Dense(12)(nn.Dense(8)(x))
    y = nn.MultiHeadAttention(2, 3, name="attention")(y, y, attention_mask=np.ones((1, 2, 5, 5), bool))
    why = "attention takes or gives more than queries, keys and values"
    found = proved(k.Model(x, nn.Dense(3)(nn.Flatten()(nn.Dense(4)(y)))), 8 + 4, {OUTPUT: 3, why: 12})
    assert all(source.what == "units" for source in found.sources)


def test_attention_that_gives_its_scores_too_is_pinned():
    x = k.Input((5, 7))
    y = nn.Dense(12)(nn.Dense(8)(x))
    y, scores = nn.MultiHeadAttention(2, 3, name="attention")(y, y, return_attention_scores=True)
    why = "attention takes or gives more than queries, keys and values"
    proved(k.Model(x, [nn.Dense(3)(nn.Flatten()(y)), scores]), 8, {OUTPUT: 3, why: 12})


def test_queries_of_one_group_share_a_head_of_keys_and_go_with_it():
    """6 heads of queries for 3 of keys and values, whose inputs Keras wants to be as wide as queries."""
    x = k.Input((5, 7))
    y = nn.Dense(8)(x)
    y = nn.Add()([y, nn.GroupQueryAttention(4, 6, 3)(y, y, use_causal_mask=True)])
    found = proved(k.Model(x, end(y)), 3 + 4 + 8, {OUTPUT: 3}, seeds=3)
    assert len(found.units.of(next(source.ids for source in found.sources if source.what == "heads"))) == 3


def test_what_is_left_of_queries_makes_up_for_the_root_of_the_width():
    """Scores are divided by the root of the width of keys; with dropped widths that are zero they stay the same."""
    x = k.Input((5, 4))
    model = k.Model(x, nn.MultiHeadAttention(1, 8, name="attention")(x, x))
    found = proved(model, 8, {"it is all that attention/query/kernel has along an axis": 1})
    dropped = np.zeros(found.units.count, bool)
    width = next(source for source in found.sources if source.what == "width")
    dropped[found.units.of(width.ids[:6])] = True
    before, after = (m.layers[1].query_dense.kernel for m in (model, cut(model, found, dropped)))
    np.testing.assert_allclose(np.asarray(after), np.asarray(before)[..., 6:] / 2, rtol=1e-6)


def test_attention_with_lora_weights_inside_is_pinned_and_a_copy_that_lacks_them_is_refused():
    x = k.Input((5, 7))
    y = nn.Dense(12)(nn.Dense(8)(x))
    attention = nn.MultiHeadAttention(2, 3, name="attention")
    model = k.Model(x, end(attention(y, y)), name="whole")
    attention.query_dense.enable_lora(2)
    found = channels(model)
    why = "attention, which was quantized by Keras or has LoRA weights, uses it"
    assert Counter(found.units.pinned.values()) == {OUTPUT: 3, why: 12}
    for rebuilt in (lambda: copy(model), lambda: cut(model, found, some_units(found, 0))):
        with pytest.raises(UnsupportedError, match="'whole' has weights that Keras does not keep"):
            rebuilt()


WEIGHTLESS = {
    "attention": (lambda: nn.Attention(use_scale=True), 8 + 6),
    "attention without a scale": (lambda: nn.Attention(), 8 + 6),
    "additive": (lambda: nn.AdditiveAttention(), 8 + 6),
    "additive without weights": (lambda: nn.AdditiveAttention(use_scale=False), 8 + 6),
}


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_attention_without_kernels_multiplies_queries_and_keys_and_gives_channels_of_values(name):
    layer, droppable = WEIGHTLESS[name]
    x, z = k.Input((5, 4)), k.Input((6, 3))
    y = layer()([nn.Dense(8)(x), nn.Dense(6)(z), nn.Dense(8)(z)], use_causal_mask=True)
    proved(k.Model([x, z], end(y)), droppable, {OUTPUT: 3}, seeds=3)


def test_attention_of_keys_that_are_values_has_one_group_of_channels():
    x, mask = k.Input((5, 4)), k.Input((5,), dtype="bool")
    y = nn.Dense(8)(x)
    y = ops.abs(nn.Attention()([y, y], mask=[mask, mask]))  # operations don't hand the mask on
    proved(k.Model([x, mask], end(y)), 8, {OUTPUT: 3})


def test_attention_with_other_scores_is_pinned():
    x = k.Input((5, 4))
    y = nn.Attention(score_mode="concat", name="attention")([nn.Dense(8)(nn.Dense(7)(x)), nn.Dense(8)(x)])
    why = "attention takes or gives more than queries, keys and values"
    proved(k.Model(x, end(y)), 7, {OUTPUT: 3, why: 16})


def test_heads_of_the_bare_operation_can_go_and_widths_stay():
    x = k.Input((5, 4))
    q, kk, v = (nn.EinsumDense("abc,cde->abde", (5, 4, 3))(x) for _ in range(3))
    y = nn.EinsumDense("abde,def->abf", (5, 7))(ops.dot_product_attention(q, kk, v))
    proved(k.Model(x, end(y)), 4 + 7, {OUTPUT: 3, "dot_product_attention attends along it": 9})


def test_the_bare_operation_pins_heads_with_a_mask_for_each():
    x = k.Input((5, 4))
    q, kk, v = (nn.EinsumDense("abc,cde->abde", (5, 4, 3))(x) for _ in range(3))
    y = ops.dot_product_attention(q, kk, v, mask=np.ones((1, 4, 5, 5), bool))
    y = nn.EinsumDense("abde,def->abf", (5, 7))(y)
    why = "dot_product_attention has heads that share or a mask for each, and uses it"
    proved(k.Model(x, end(y)), 7, {OUTPUT: 3, why: 21})
