"""Questions about an ONNX graph: who makes and reads which value, what is constant, what is float."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.onnx.order import copied, reads
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


class Graph:
    """The operators by number, in order, as copies; and what is known about values, by name."""

    def __init__(self, proto: Any) -> None:
        import onnx
        from onnx import shape_inference

        inner = shape_inference.infer_shapes(proto).graph
        values = (*inner.input, *inner.output, *inner.value_info)
        self.proto = proto
        self.nodes = {n: copied(node) for n, node in enumerate(proto.graph.node)}
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer
        }
        self.floats = {v.name for v in values if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        self.floats |= {name for name, constant in self.constants.items() if constant.dtype == np.float32}
        self.outputs = {value.name for value in proto.graph.output}
        self.makers = {name: number for number, node in self.nodes.items() for name in node.output if name}
        self.readers: dict[str, list[int]] = defaultdict(list)
        for number, node in self.nodes.items():
            for name in reads(node):
                self.readers[name].append(number)

    def bypass(self, number: int) -> None:
        """Take out an operator of one input and one output; what makes its input makes its output instead."""
        node = self.nodes.pop(number)
        maker = self.makers[node.input[0]]
        outputs = self.nodes[maker].output
        outputs[:] = [node.output[0] if name == node.input[0] else name for name in outputs]
        self.makers[node.output[0]] = maker

    def product(self, node: Any, planned: Mapping[str, StoredTensor]) -> Product | None:
        """An operator that multiplies by a planned kernel with scales along its output channels, if it is one."""
        axis = self._channel_axis(node)
        stored = planned.get(node.input[1]) if axis is not None else None
        if axis is None or stored is None or stored.levels is None or stored.axis not in (None, axis):
            return None
        scale = np.broadcast_to(stored.scale, (stored.levels.shape[axis],))
        product = Product(node.input[1], stored.levels, stored.bits, axis, scale)
        if len(node.input) < 3 or not node.input[2]:
            return product
        bias = self.constants.get(node.input[2])
        return replace(product, bias=bias.ravel()) if bias is not None and bias.size == scale.size else None

    def _channel_axis(self, node: Any) -> int | None:
        """The axis of output channels of the constant that an operator multiplies by, if it does."""
        kernel = self.constants.get(node.input[1]) if len(node.input) > 1 else None
        if kernel is None or kernel.dtype != np.float32 or node.input[0] in self.constants:
            return None
        if node.op_type == "Conv":
            return 0
        if node.op_type == "MatMul" and kernel.ndim == 2:
            return 1
        settings = attributes(node)
        plain = settings.get("alpha", 1) == settings.get("beta", 1) == 1 and not settings.get("transA", 0)
        if node.op_type == "Gemm" and plain:
            return 0 if settings.get("transB", 0) else 1
        return None


def attributes(node: Any) -> dict[str, Any]:
    import onnx

    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
