"""A kernel as the matrix by which a layer multiplies its input, and the rows of that input.

A layer with the kernel's matrix W of shape (groups, inputs, outputs) gives, before bias and activation, y = rows @ W
with rows of shape (groups, positions, inputs). For Dense and EinsumDense, rows are the vectors that are summed over.
For a convolution, rows are the patches that the kernel covers (im2col), with zeros outside the image. `inputs` then
runs over the positions of the kernel, and in each over its channels. Groups are those of the layer; a depthwise kernel
has one group for each channel, with `depth_multiplier` outputs. A transposed convolution is a convolution over its
input with zeros between the positions.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.model.kernels import einsum_axes, is_keras

Array = NDArray[Any]
PIECE = 1024  # positions whose patches are in memory at once


def has_matrix(layer: Any, weight: str = "kernel") -> bool:
    """Whether that weight of a layer of Keras's own is the matrix of a product for which `rows` gives the rows.

    There is none for recurrent cells, embeddings, einsums that are no product of two matrices, and transposed
    convolutions with dilation or an output padding.
    """
    kind = type(layer).__name__
    if not is_keras(layer):
        return False
    if kind == "EinsumDense":
        return weight == "kernel" and _einsum_order(layer.equation) is not None
    if kind.startswith("SeparableConv"):
        return weight in ("depthwise_kernel", "pointwise_kernel")
    if weight != "kernel":
        return False
    if _is_transposed(layer):
        return set(layer.dilation_rate) == {1} and layer.output_padding is None
    return kind == "Dense" or _is_depthwise(layer, weight) or kind in ("Conv1D", "Conv2D", "Conv3D")


def to_matrix(values: Array, layer: Any, weight: str = "kernel") -> Array:
    """A kernel's values as (groups, inputs, outputs)."""
    if type(layer).__name__ == "EinsumDense":
        axes = einsum_axes(layer.equation)
        inputs = math.prod(values.shape[axis] for axis in axes.inputs)
        return values.transpose(*axes.inputs, *axes.outputs).reshape(1, inputs, -1)
    if type(layer).__name__ == "Dense":
        return values[None]
    if _is_depthwise(layer, weight):
        channels, multiplier = values.shape[-2:]
        return values.reshape(-1, channels, multiplier).swapaxes(0, 1)
    if _is_transposed(layer):
        values = values.swapaxes(-1, -2)
    groups = int(getattr(layer, "groups", 1))
    inputs, outputs = math.prod(values.shape[:-1]), values.shape[-1]
    return values.reshape(inputs, groups, outputs // groups).swapaxes(0, 1)


def from_matrix(matrix: Array, layer: Any, weight: str = "kernel") -> Array:
    """The inverse of `to_matrix`: values of the kernel's own shape."""
    shape = tuple(int(size) for size in getattr(layer, weight).shape)
    if type(layer).__name__ == "EinsumDense":
        axes = einsum_axes(layer.equation)
        order = (*axes.inputs, *axes.outputs)
        back = tuple(order.index(axis) for axis in range(len(order)))
        return matrix.reshape([shape[axis] for axis in order]).transpose(back)
    if type(layer).__name__ == "Dense":
        return matrix.reshape(shape)
    if _is_depthwise(layer, weight) or not _is_transposed(layer):
        return matrix.swapaxes(0, 1).reshape(shape)
    return matrix.swapaxes(0, 1).reshape(*shape[:-2], shape[-1], shape[-2]).swapaxes(-1, -2)


def positions(inputs: Array, layer: Any) -> int:
    """How many rows an input gives."""
    if type(layer).__name__ in ("Dense", "EinsumDense"):
        return int(inputs.size // math.prod(inputs.shape[axis] for axis in _summed(layer)))
    return len(inputs) * math.prod(_output_size(layer, _channels_last(inputs, layer).shape[1:-1]))


def rows(inputs: Array, layer: Any, weight: str = "kernel", chosen: Array | None = None) -> Iterator[Array]:
    """Rows of an input to the layer, in pieces of (groups, some positions, inputs) each.

    `chosen` holds indices into all output positions of all samples, in C order; None for all.
    """
    if chosen is None:
        chosen = np.arange(positions(inputs, layer))
    if type(layer).__name__ in ("Dense", "EinsumDense"):
        summed = [axis % inputs.ndim for axis in _summed(layer)]
        kept = [axis for axis in range(inputs.ndim) if axis not in summed]
        flat = inputs.transpose(*kept, *summed).reshape(-1, math.prod(inputs.shape[axis] for axis in summed))
        take: Callable[[Array], Array] = lambda part: flat[None, part]  # noqa: E731
    else:
        image = _channels_last(inputs, layer)
        take = lambda part: _grouped(_patches(image, layer, part), layer, weight)  # noqa: E731
    for start in range(0, len(chosen), PIECE):
        yield take(chosen[start : start + PIECE])


def _grouped(patches: Array, layer: Any, weight: str) -> Array:
    """Patches (positions, kernel positions, channels) as rows."""
    count, size, channels = patches.shape
    if _is_depthwise(layer, weight):
        return patches.transpose(2, 0, 1)
    if weight == "pointwise_kernel":
        matrix = to_matrix(np.asarray(layer.depthwise_kernel), layer, "depthwise_kernel")
        between: Array = (patches.transpose(2, 0, 1) @ matrix).swapaxes(0, 1)
        return between.reshape(1, count, -1)
    groups = int(getattr(layer, "groups", 1))
    split = patches.reshape(count, size, groups, channels // groups)
    return split.transpose(2, 0, 1, 3).reshape(groups, count, -1)


def _patches(image: Array, layer: Any, chosen: Array) -> Array:
    """What the kernel covers at the chosen output positions: (positions, kernel positions, channels)."""
    size = image.shape[1:-1]
    sample, *at = np.unravel_index(chosen, (len(image), *_output_size(layer, size)))
    kernel, strides = layer.kernel_size, layer.strides
    patches = np.empty((len(chosen), math.prod(kernel), image.shape[-1]), image.dtype)
    for number, offsets in enumerate(itertools.product(*map(range, kernel))):
        inside = np.ones(len(chosen), bool)
        where = []
        for axis, offset in enumerate(offsets):
            before = _padding_before(layer, axis, size[axis])
            if _is_transposed(layer):
                place, rest = np.divmod(at[axis] + before - offset, strides[axis])
                inside &= rest == 0
            else:
                place = at[axis] * strides[axis] + offset * layer.dilation_rate[axis] - before
            inside &= (place >= 0) & (place < size[axis])
            where.append(np.clip(place, 0, size[axis] - 1))
        patches[:, number] = np.where(inside[:, None], image[(sample, *where)], 0)
    return patches


def _channels_last(inputs: Array, layer: Any) -> Array:
    return np.moveaxis(inputs, 1, -1) if layer.data_format == "channels_first" else inputs


def _reach(layer: Any, axis: int) -> int:
    """Positions from a kernel's first to its last element, both counted."""
    return int(layer.dilation_rate[axis] * (layer.kernel_size[axis] - 1) + 1)


def _output_size(layer: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    found = []
    for axis, length in enumerate(size):
        stride, reach = layer.strides[axis], _reach(layer, axis)
        if _is_transposed(layer):
            found.append(length * stride + (max(reach - stride, 0) if layer.padding == "valid" else 0))
        else:
            found.append((length - reach) // stride + 1 if layer.padding == "valid" else -(-length // stride))
    return tuple(found)


def _padding_before(layer: Any, axis: int, length: int) -> int:
    stride, reach = layer.strides[axis], _reach(layer, axis)
    if layer.padding == "valid":
        return 0
    if layer.padding == "causal":
        return reach - 1
    if _is_transposed(layer):
        return int(max(reach - stride, 0) // 2)
    return int(max((-(-length // stride) - 1) * stride + reach - length, 0) // 2)


def _is_transposed(layer: Any) -> bool:
    return type(layer).__name__ in ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")


def _is_depthwise(layer: Any, weight: str) -> bool:
    return weight == "depthwise_kernel" or type(layer).__name__ in ("DepthwiseConv1D", "DepthwiseConv2D")


def _summed(layer: Any) -> tuple[int, ...]:
    """The axes of a Dense or EinsumDense layer's input that are summed over."""
    return (-1,) if type(layer).__name__ == "Dense" else _einsum_order(layer.equation) or ()


def _einsum_order(equation: str) -> tuple[int, ...] | None:
    """The input's axes that are summed over, in the kernel's order; None if it is no product of two matrices.

    >>> _einsum_order("...x,xy->...y"), _einsum_order("abc,bcd->ad"), _einsum_order("abc,bcd->abd")
    ((-1,), (1, 2), None)
    """
    operands, output = equation.replace(" ", "").split("->")
    given, kernel = operands.split(",")
    summed = [label for label in kernel if label not in output]
    alike = any(len(set(part.replace("...", ""))) != len(part.replace("...", "")) for part in (given, kernel, output))
    kept = [label for label in given.replace("...", "") if label not in kernel]
    shared = any(label in given for label in kernel if label in output)
    if alike or shared or not summed or "." in kernel or not set(summed) <= set(given) or not set(kept) <= set(output):
        return None
    start, _, end = given.partition("...")
    return tuple(start.index(x) if x in start else end.index(x) - len(end) for x in summed)
