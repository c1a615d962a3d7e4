"""Constants and operators to be added to an ONNX graph, each constant once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.onnx.order import copied


class Draft:
    """What is added to a graph: `nodes`, in an order in which they can be computed, and initializers."""

    def __init__(self, proto: Any) -> None:
        self.proto = proto
        self.nodes: list[Any] = []
        self._constants = {tensor.name for tensor in proto.graph.initializer}

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """An initializer of this name, if there is none yet; the name."""
        import onnx

        if name not in self._constants:
            self.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def append(self, tensor: Any) -> None:
        self._constants.add(tensor.name)
        self.proto.graph.initializer.append(tensor)

    def add(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """An operator; the name of its first output."""
        import onnx

        self.nodes.append(onnx.helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def keep(self, node: Any) -> None:
        """An operator as it is; a copy, so that the graph's own list may be emptied."""
        self.nodes.append(copied(node))

    def replace(self) -> None:
        """Make these the graph's only operators."""
        del self.proto.graph.node[:], self.proto.graph.value_info[:]
        self.proto.graph.node.extend(self.nodes)

    def raise_opset(self, version: int, ir_version: int) -> None:
        """Declare a newer version of the standard operators; those that tf2onnx writes mean the same in it."""
        for entry in self.proto.opset_import:
            if entry.domain in ("", "ai.onnx"):
                entry.version = max(entry.version, version)
        self.proto.ir_version = max(self.proto.ir_version, ir_version)
