"""A float ONNX graph in the shape in which its operators have integer counterparts.

ONNX Runtime's basic optimizations, which use standard operators only, fold batch normalizations and paddings into
convolutions, sums into matrix products, and move transpositions out of the way. Then means over all positions become
global average pooling, and the subtraction of a constant becomes an addition.
"""

from typing import Any

import numpy as np

from kcompress.formats.onnx.draft import Draft
from kcompress.formats.onnx.order import copied
from kcompress.formats.onnx.runner import optimized

STANDARD = ("", "ai.onnx")


def prepared(proto: Any) -> Any:
    """The same function as another graph."""
    from onnx import shape_inference

    result = optimized(proto, extended=False)
    if any(node.domain not in STANDARD for node in result.graph.node):
        result = proto
    kept = [entry for entry in result.opset_import if entry.domain in STANDARD]
    versions = [copied(entry) for entry in kept]
    del result.opset_import[:], result.metadata_props[:]
    result.opset_import.extend(versions)
    result.producer_name, result.producer_version = proto.producer_name, proto.producer_version
    _rewrite(result, ranks(shape_inference.infer_shapes(result)))
    return result


def ranks(inferred: Any) -> dict[str, int]:
    """Number of dimensions of every float value whose shape was inferred."""
    import onnx

    graph = inferred.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    floats = [v for v in values if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    return {v.name: len(v.type.tensor_type.shape.dim) for v in floats if v.type.tensor_type.HasField("shape")}


def _rewrite(proto: Any, dimensions: dict[str, int]) -> None:
    import onnx

    constants = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    draft = Draft(proto)
    for node in proto.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        other = constants.get(node.input[1]) if len(node.input) > 1 else None
        rank = dimensions.get(node.input[0]) if node.input else None
        if node.op_type == "ReduceMean" and rank is not None and _all_positions(other, rank):
            if attributes.get("keepdims", 1):
                draft.add("GlobalAveragePool", node.input[:1], node.output[0])
            else:
                mean = draft.add("GlobalAveragePool", node.input[:1], f"{node.output[0]}|mean")
                draft.add("Flatten", [mean], node.output[0])
        elif node.op_type == "Gemm" and len(node.input) == 3 and node.input[2] not in constants:
            product = draft.add("Gemm", node.input[:2], f"{node.output[0]}|product", **attributes)
            draft.add("Add", [product, node.input[2]], node.output[0])
        elif node.op_type == "Sub" and other is not None and other.dtype == np.float32:
            draft.add("Add", [node.input[0], draft.constant(f"{node.input[1]}|negative", -other)], node.output[0])
        else:
            draft.keep(node)
    draft.replace()


def _all_positions(axes: Any, rank: int) -> bool:
    """Whether these are all axes but those of samples and channels."""
    return axes is not None and rank > 2 and sorted(axes % rank) == list(range(2, rank))
