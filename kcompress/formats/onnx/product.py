"""Operators of an ONNX graph that multiply by a planned kernel."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.onnx.graph import array
from kcompress.formats.stored_tensors import StoredTensor


@dataclass(frozen=True)
class Product:
    """What an operator multiplies by, `levels` times `scale` along `axis`, and adds: one per position of that axis."""

    kernel: str
    levels: NDArray[np.int32]
    bits: int
    axis: int
    scale: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None


def product(node: Any, planned: Mapping[str, StoredTensor]) -> Product | None:
    """An operator that multiplies by a planned kernel with scales along its output channels, if it is one."""
    axis = _channel_axis(node)
    stored = planned.get(node.inputs[1].name) if axis is not None else None
    if axis is None or stored is None or stored.levels is None or stored.axis not in (None, axis):
        return None
    scale = np.broadcast_to(stored.scale, (stored.levels.shape[axis],))
    found = Product(node.inputs[1].name, stored.levels, stored.bits, axis, scale)
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return found
    bias = array(node.inputs[2])
    return replace(found, bias=bias.ravel()) if bias is not None and bias.size == scale.size else None


def _channel_axis(node: Any) -> int | None:
    """The axis of output channels of the constant that an operator multiplies by, if it does."""
    kernel = array(node.inputs[1]) if len(node.inputs) > 1 else None
    if kernel is None or kernel.dtype != np.float32 or array(node.inputs[0]) is not None:
        return None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "MatMul" and kernel.ndim == 2:
        return 1
    number = node.attributes.get_float
    plain = number("alpha", 1) == number("beta", 1) == 1 and not node.attributes.get_int("transA", 0)
    if node.op_type == "Gemm" and plain:
        return 0 if node.attributes.get_int("transB", 0) else 1
    return None
