"""Multiply-adds (MACs) of one forward pass, per layer, for one sample.

The model is run symbolically, and each call of a layer counts with its shapes; so nested, shared and wrapped layers
count as often as they are called. A kernel costs (elements of the output) × (products summed for each). Attention adds
the products queries × keys and scores × values. Element-wise work is not counted. A subclass of one of Keras's own
layers counts as that layer does. Of any other custom layer, only the layers inside it count.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from kcompress.model.call_hooks import forward_hooks, recurrent_cells
from kcompress.model.calling import calling
from kcompress.model.kernels import einsum_axes
from kcompress.model.signature import signature
from kcompress.model.view import Node, nodes

Shape = tuple[int, ...]
Counter = Callable[[Mapping[str, Any], Any], int]
"""Multiply-adds of one call, from its arguments by name, the first of them as `""`, and its result."""


def macs(model: Any) -> int | None:
    """Multiply-adds of the model; None if an input has an unknown size besides the batch."""
    per_layer = macs_by_layer(model)
    return None if per_layer is None else sum(per_layer.values())


def macs_by_layer(model: Any) -> dict[str, int] | None:
    """Qualified layer name to multiply-adds, layers without any left out; None if an input size is unknown."""
    import keras

    sign = signature(model)
    if any(None in shape[1:] for shape in sign.inputs.values()):
        return None
    batch = sign.batch or 1
    tensors = [
        keras.KerasTensor((shape[0] or 1, *shape[1:]), dtype=dtype)
        for shape, dtype in zip(sign.inputs.values(), sign.dtypes.values(), strict=True)
    ]
    all_nodes = nodes(model)
    hidden = recurrent_cells(all_nodes)
    counters = {node.name: _counter(node.layer) for node in all_nodes if id(node.layer) not in hidden}
    totals: dict[str, int] = {}

    def seen(node: Node, given: Mapping[str, Any], result: Any) -> None:
        counter = counters[node.name]
        cost = counter(given, result) if counter is not None else 0
        if cost:
            totals[node.name] = totals.get(node.name, 0) + cost

    with calling(model), forward_hooks([node for node in all_nodes if counters.get(node.name)], seen):
        keras.Operation.compute_output_spec(model, sign.pack(tensors), training=False)
    return {name: total // batch for name, total in totals.items()}


def _kind(layer: Any) -> str:
    """Name of the class of Keras's own that the layer is or derives from."""
    return next(c.__name__ for c in type(layer).__mro__ if c.__module__.split(".")[0] == "keras")


def _is_recurrent(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.layers.RNN)


def _shape(tensor: Any) -> Shape:
    """Static shape with the unknown batch of a traced call taken as one sample."""
    shape = tuple(tensor.shape)
    return tuple(1 if size is None else int(size) for size in shape)


def _counter(layer: Any) -> Counter | None:
    """How to count a call of this layer; None for a layer that has no products."""
    kind = _kind(layer)
    if kind == "Dense":
        return lambda given, out: math.prod(_shape(out)) * _shape(given[""])[-1]
    if kind == "EinsumDense":
        return lambda given, out: math.prod(_shape(out)) * _summed(layer)
    if kind == "ReversibleEmbedding":
        return lambda given, out: math.prod(_shape(out)) * _shape(given[""])[-1] if given.get("reverse") else 0
    if kind.startswith("SeparableConv"):
        return lambda given, out: _separable(layer, _positions(layer, out))
    if kind.startswith("Conv") and kind.endswith("Transpose"):
        return lambda given, out: _positions(layer, given[""]) * _size(layer.kernel)
    if kind.startswith(("Conv", "DepthwiseConv")) and kind.endswith("D") and not kind.startswith("ConvLSTM"):
        return lambda given, out: _positions(layer, out) * _size(layer.kernel)
    if _is_recurrent(layer):
        return lambda given, out: math.prod(_shape(given[""])[:2]) * _step(layer.cell, out)
    if kind in ("MultiHeadAttention", "GroupedQueryAttention"):
        return lambda given, out: _multi_head(layer, given["query"], given["value"])
    if kind in ("Attention", "AdditiveAttention"):
        return lambda given, out: _attention(*given[""])
    return None


def _size(kernel: Any) -> int:
    return math.prod(map(int, kernel.shape))


def _summed(layer: Any) -> int:
    shape = getattr(layer, "original_kernel_shape", None) or layer.kernel.shape  # Keras packs a quantized kernel
    return math.prod(int(shape[axis]) for axis in einsum_axes(layer.equation).inputs)


def _positions(layer: Any, tensor: Any) -> int:
    """Spatial positions of a convolution's input or output."""
    shape = _shape(tensor)
    first = layer.data_format == "channels_first"
    return shape[0] * math.prod(shape[2:] if first else shape[1:-1])


def _separable(layer: Any, positions: int) -> int:
    return positions * (_size(layer.depthwise_kernel) + _size(layer.pointwise_kernel))


def _step(cell: Any, out: Any) -> int:
    """Multiply-adds of one time step: every kernel element once, or once per position for a convolutional cell."""
    positions = 1
    if _kind(cell) == "ConvLSTMCell":
        shape = _shape(out[0] if isinstance(out, (list, tuple)) else out)
        positions = math.prod(
            shape[-cell.rank :] if cell.data_format == "channels_first" else shape[-1 - cell.rank : -1]
        )
    return positions * sum(_size(w) for w in getattr(cell, "weights", ()) if "kernel" in w.name)


def _multi_head(layer: Any, query: Any, value: Any) -> int:
    """The products queries × keys and scores × values, for every head."""
    heads = getattr(layer, "num_heads", None) or layer.num_query_heads
    widths = (layer.key_dim + layer.value_dim) if hasattr(layer, "key_dim") else 2 * layer.head_dim
    return math.prod(_shape(query)[:-1]) * math.prod(_shape(value)[1:-1]) * int(heads) * int(widths)


def _attention(query: Any, value: Any, _key: Any = None) -> int:
    """The same two products where keys are as wide as queries."""
    return math.prod(_shape(query)[:-1]) * _shape(value)[1] * (_shape(query)[-1] + _shape(value)[-1])
