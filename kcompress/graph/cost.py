"""Multiply-adds (MACs) of one forward pass, per layer, for one sample.

Counted on the shapes that each layer sees when the model is run symbolically, so that nested, shared and wrapped
layers count as often as they are called. A kernel costs (elements of the output) × (kernel positions summed for each);
attention adds the two products of queries, keys and values. Element-wise work is not counted.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kcompress.graph.signature import signature
from kcompress.graph.view import Node, nodes

Shape = tuple[int, ...]


def macs(model: Any) -> int | None:
    """Multiply-adds of the whole model; None if an input has an unknown size besides the batch."""
    per_layer = macs_by_layer(model)
    return None if per_layer is None else sum(per_layer.values())


def macs_by_layer(model: Any) -> dict[str, int] | None:
    """Qualified layer name to multiply-adds, layers without any left out; None if an input size is unknown."""
    import keras

    sign = signature(model)
    if any(None in shape[1:] for shape in sign.inputs.values()):
        return None
    tensors = [
        keras.KerasTensor((1, *shape[1:]), dtype=dtype)
        for shape, dtype in zip(sign.inputs.values(), sign.dtypes.values(), strict=True)
    ]
    totals: dict[str, int] = {}
    with _counting(nodes(model), totals):
        keras.Operation.compute_output_spec(model, sign.pack(tensors), training=False)
    return totals


@contextmanager
def _counting(all_nodes: list[Node], totals: dict[str, int]) -> Iterator[None]:
    """Wrap each layer's `call` for the while; `repeat` holds the time steps of the TimeDistributed around."""
    repeat = [1]
    hooked = []

    def hook(node: Node) -> None:
        layer, original = node.layer, node.layer.call
        repeats = type(layer).__name__ == "TimeDistributed"

        def call(*args: Any, **kwargs: Any) -> Any:
            repeat.append(repeat[-1] * (_shape(args[0])[1] if repeats else 1))
            try:
                result = original(*args, **kwargs)
            finally:
                repeat.pop()
            cost = count(args, kwargs, result) if count else 0
            if cost:
                totals[node.name] = totals.get(node.name, 0) + cost * repeat[-1]
            return result

        count = _counter(layer)
        if count or repeats:
            layer.__dict__["call"] = call
            hooked.append(layer)

    for node in all_nodes:
        hook(node)
    try:
        yield
    finally:
        for layer in hooked:
            del layer.__dict__["call"]


def _shape(tensor: Any) -> Shape:
    """Static shape with the unknown batch of a traced call taken as one sample."""
    shape = tuple(tensor.shape)
    return tuple(1 if size is None else int(size) for size in shape)


def _counter(layer: Any) -> Callable[[tuple[Any, ...], dict[str, Any], Any], int] | None:
    """How to count a call of this layer from its arguments and result; None for a layer that has no products."""
    kind = type(layer).__name__
    if kind == "EinsumDense" or kind == "Dense":
        return lambda args, kwargs, out: math.prod(_shape(out)) * _summed(layer)
    if kind.startswith("SeparableConv"):
        return lambda args, kwargs, out: _separable(layer, _positions(layer, out))
    if kind.startswith("Conv") and kind.endswith("Transpose"):
        return lambda args, kwargs, out: _positions(layer, args[0]) * math.prod(layer.kernel.shape)
    if kind.startswith(("Conv", "DepthwiseConv")) and kind.endswith("D") and not kind.startswith("ConvLSTM"):
        return lambda args, kwargs, out: _positions(layer, out) * math.prod(layer.kernel.shape)
    if hasattr(layer, "cell"):
        return lambda args, kwargs, out: _shape(args[0])[1] * _cell(layer, args[0])
    if kind in ("MultiHeadAttention", "GroupedQueryAttention"):
        return _attention(layer)
    return None


def _summed(layer: Any) -> int:
    from kcompress.graph.kernels import kernel_axes

    axes = kernel_axes(layer, "kernel")
    return math.prod(int(layer.kernel.shape[axis]) for axis in axes.inputs) if axes else int(layer.kernel.shape[0])


def _positions(layer: Any, tensor: Any) -> int:
    """Spatial positions of a convolution's input or output."""
    shape = _shape(tensor)
    first = layer.data_format == "channels_first"
    return shape[0] * math.prod(shape[2:] if first else shape[1:-1])


def _separable(layer: Any, positions: int) -> int:
    sizes = [math.prod(map(int, kernel.shape)) for kernel in (layer.depthwise_kernel, layer.pointwise_kernel)]
    return positions * sum(sizes)


def _cell(layer: Any, inputs: Any) -> int:
    """Multiply-adds of one time step: every kernel element once, or once per position for a convolutional cell."""
    shape = _shape(inputs)
    conv = type(layer).__name__.startswith("ConvLSTM")
    positions = math.prod(shape[2:-1]) if conv else 1
    kernels = [w for w in layer.cell.weights if "kernel" in w.name]
    return shape[0] * positions * sum(math.prod(map(int, w.shape)) for w in kernels)


def _attention(layer: Any) -> Callable[[tuple[Any, ...], dict[str, Any], Any], int]:
    def count(args: tuple[Any, ...], kwargs: dict[str, Any], _out: Any) -> int:
        query = args[0]
        value = args[1] if len(args) > 1 else kwargs.get("value", query)
        heads = getattr(layer, "num_heads", None) or layer.num_query_heads
        widths = (layer.key_dim + layer.value_dim) if hasattr(layer, "key_dim") else 2 * layer.head_dim
        return math.prod(_shape(query)[:-1]) * math.prod(_shape(value)[1:-1]) * int(heads) * int(widths)

    return count
