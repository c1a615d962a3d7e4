"""Attention: the heads of MultiHeadAttention and its like, the width of each head, and the outputs."""

from typing import Any

import numpy as np

from kcompress.channels.identities import Ids
from kcompress.channels.rules.products import summed
from kcompress.channels.rules.visit import STAYS, Rule, Visit
from kcompress.channels.trace import Axes, Size, Tensor
from kcompress.keras_internals import attention_output_shape, attention_part, value_dim

HEADS, WIDTH = "heads", "width"


def multi_head(v: Visit) -> list[Axes]:
    """Kernels (inputs, heads, width) make queries, keys and values; one (heads, width, outputs) puts them together.

    Scores are divided by the root of the width of the keys, so that narrower queries are rescaled to give the same
    scores. Values as wide as the keys stay so, since not every backend takes another width.
    """
    layer = v.layer
    attended = _attended(v)
    if attended is None:
        return v.unknown(f"{v.label} takes or gives more than queries, keys and values")
    heads = v.trace.make(layer.query_dense, layer.num_heads, HEADS)
    keys = v.trace.make(layer.query_dense, layer.key_dim, WIDTH)
    width = value_dim(layer)
    values = keys if width == layer.key_dim else v.trace.make(layer.value_dense, width, WIDTH)
    made = _attention(v, attended, (heads, heads), (keys, values), attention_output_shape(layer))
    v.trace.set(layer, "num_heads", Size(heads))
    v.trace.set(layer, "key_dim", Size(keys))
    v.trace.set(layer, "value_dim", Size(values))
    return made


def grouped_query(v: Visit) -> list[Axes]:
    """As `multi_head`, but several queries share one head of keys and values; these go together."""
    layer = v.layer
    attended = _attended(v)
    if attended is None:
        return v.unknown(f"{v.label} takes or gives more than queries, keys and values")
    v.together([tensor.axes[-1] for tensor in attended], STAYS)  # Keras wants these to be equally wide
    heads = v.trace.make(attention_part(layer, "key"), layer.num_key_value_heads, HEADS)
    queries = np.repeat(heads, layer.num_repeats)
    width = v.trace.make(attention_part(layer, "query"), layer.head_dim, WIDTH)
    made = _attention(v, attended, (queries, heads), (width, width), None)
    v.trace.set(layer, "num_query_heads", Size(queries))
    v.trace.set(layer, "num_key_value_heads", Size(heads))
    v.trace.set(layer, "head_dim", Size(width))
    return made


def _attended(v: Visit) -> tuple[Tensor, Tensor, Tensor] | None:
    """Query, value and key of the call; None if it has masks for each head, or gives its scores too."""
    arguments = v.arguments()
    query, value = arguments.pop("query"), arguments.pop("value")
    key = arguments.pop("key", None) or value
    masks = [item for item in arguments.values() if isinstance(item, Tensor)]
    if len(v.shapes) > 1 or any(mask.rank > query.rank or any(_has_identities(mask)) for mask in masks):
        return None
    return query, value, key


def _has_identities(tensor: Tensor) -> list[bool]:
    """For each axis whether it has identities."""
    return [axis is not None for axis in tensor.axes]


def _attention(
    v: Visit, attended: tuple[Tensor, ...], heads: tuple[Ids, Ids], width: tuple[Ids, Ids], shape: Any
) -> list[Axes]:
    """`heads` of queries and of keys; `width` of keys and of values; `shape` of outputs, that of queries if None."""
    layer, trace = v.layer, v.trace
    query, value, key = attended
    for tensor in attended:
        v.only(tensor, -1, does="attends along")
    queries, keys, values, gate = (attention_part(layer, name) for name in ("query", "key", "value", "gate"))
    projections = [
        (queries, query, heads[0], width[0]),
        (keys, key, heads[1], width[0]),
        (values, value, heads[1], width[1]),
        *([] if gate is None else [(gate, query, heads[0], width[1])]),
    ]
    for dense, tensor, rows, columns in projections:
        trace.share(dense, HEADS, rows)
        trace.share(dense, WIDTH, columns)
        rescale = (columns, 0.5) if dense is queries else None
        multiplied = dense is keys  # with the queries, so that it reads their widths as weights do
        reads = (0, 2) if multiplied else (0,)
        trace.weight(dense.kernel, (tensor.axes[-1], rows, columns), reads, rescale)
        if dense.bias is not None:
            trace.weight(dense.bias, (rows, columns), (1,) if multiplied else (), rescale)
    trace.products[id(layer)] = (heads[0], width[0]), (heads[0], width[1])
    outputs = _outputs(v, query, shape)
    last = attention_part(layer, "output")
    trace.weight(last.kernel, (heads[0], width[1], *outputs), reads=(0, 1))
    if last.bias is not None:
        trace.weight(last.bias, outputs)
    return [(*(None,) * (query.rank - 1), *outputs)]


def _outputs(v: Visit, query: Tensor, shape: Any) -> Axes:
    """The outputs are as wide as the queries if no shape is given, so these channels are the same then."""
    dense = attention_part(v.layer, "output")
    if shape is None:
        if query.axes[-1] is None:
            return (None,)
        v.trace.share(dense, "outputs", query.axes[-1])
        return (query.axes[-1],)
    made = tuple(v.trace.make(dense, size, f"outputs {n}" if n else "outputs") for n, size in enumerate(shape))
    v.trace.set(v.layer, "output_shape", tuple(map(Size, made)))
    return made


def attention(v: Visit) -> list[Axes]:
    """Attention without kernels: queries and keys are multiplied, the outputs are channels of the values."""
    tensors = _tensors(v)
    if tensors is None or v.layer.score_mode != "dot":
        return v.unknown(f"{v.label} takes or gives more than queries, keys and values")
    return _weighted(v, *tensors)


def additive(v: Visit) -> list[Axes]:
    """tanh(query + key) is summed over channels, with a weight for each if `use_scale` is set."""
    tensors = _tensors(v)
    if tensors is None:
        return v.unknown(f"{v.label} takes or gives more than queries, keys and values")
    if v.layer.scale is not None:
        v.trace.weight(v.layer.scale, (tensors[0].axes[-1],), reads=(0,))
    return _weighted(v, *tensors)


def _tensors(v: Visit) -> tuple[Tensor, Tensor, Tensor] | None:
    """Query, value and key; None if the call gives its scores too."""
    return None if len(v.shapes) > 1 else (v.given[0], v.given[1], v.given[-1])


def _weighted(v: Visit, query: Tensor, value: Tensor, key: Tensor) -> list[Axes]:
    for tensor in (query, value, key):
        v.only(tensor, -1, does="attends along")
    summed(v, query.axes[-1], key.axes[-1])
    v.trace.products[id(v.layer)] = (query.axes[-1],), (value.axes[-1],)
    return [(None, None, value.axes[-1])]


def dot_product(v: Visit) -> list[Axes]:
    """The operation on (batch, positions, heads, width) of each; scores depend on the width, so only heads can go."""
    tensors, masks = v.given[:3], v.given[3:]
    if len({tensor.shape[2] for tensor in tensors}) > 1 or not all(mask.shape[1:2] == (1,) for mask in masks):
        return v.unknown(f"{v.label} has heads that share or a mask for each, and uses it")
    for tensor in tensors:
        v.only(tensor, 2, does="attends along")
    return [(None, None, v.together([tensor.axes[2] for tensor in tensors], STAYS), None)]


LAYERS: dict[str, Rule] = {
    "MultiHeadAttention": multi_head,
    "GroupedQueryAttention": grouped_query,
    "Attention": attention,
    "AdditiveAttention": additive,
}
OPERATIONS: dict[str, Rule] = {"DotProductAttention": dot_product}
