"""Reading and editing an ONNX graph in `onnx-ir`: constants, types, attributes, and what takes whose place."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def constant(graph: Any, name: str, values: Any) -> Any:
    """The initializer of this name; it is made of an array or a tensor if there is none yet."""
    import onnx_ir as ir

    if name not in graph.initializers:
        tensor = values if isinstance(values, ir.PackedTensor) else ir.tensor(np.asarray(values))
        graph.register_initializer(ir.Value(name=name, const_value=tensor))
    return graph.initializers[name]


def array(value: Any) -> NDArray[Any] | None:
    """The numbers of an initializer; None for any other value."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def is_float(value: Any) -> bool:
    import onnx_ir as ir

    return value is not None and value.dtype == ir.DataType.FLOAT


def attributes(node: Any) -> dict[str, Any]:
    """By name, sorted; ONNX Runtime gives them an order that depends on how it was built."""
    return dict(sorted(node.attributes.items()))


def replace(node: Any, *values: Any) -> None:
    """Take out an operator; `values` get the places, the names and the types of its outputs."""
    import onnx_ir as ir

    ir.convenience.replace_nodes_and_values(node.graph, node, [node], [], node.outputs, values)
