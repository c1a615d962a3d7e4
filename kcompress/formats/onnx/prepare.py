"""A float ONNX graph in the shape in which its operators have integer counterparts.

ONNX Runtime's basic optimizations, which use standard operators only, fold batch normalizations and paddings into
convolutions, sums into matrix products, and move transpositions out of the way. Then means over all positions become
global average pooling, and the subtraction of a constant becomes an addition.
"""

from typing import Any

from kcompress.formats.onnx.graph import array, attributes, constant, is_float, replace
from kcompress.formats.onnx.runner import optimized

STANDARD = ("", "ai.onnx")


def prepared(model: Any) -> Any:
    """The same function as another model, with the types of all values."""
    import onnx_ir as ir
    from onnx import shape_inference

    proto = ir.to_proto(model)
    result = optimized(proto, extended=False)
    if any(node.domain not in STANDARD for node in result.graph.node):
        result = proto
    found = ir.from_proto(shape_inference.infer_shapes(result))
    for domain in found.opset_imports.keys() - set(STANDARD):
        del found.opset_imports[domain]
    found.metadata_props.clear()
    found.producer_name, found.producer_version = model.producer_name, model.producer_version
    _rewrite(found.graph)
    return found


def _rewrite(graph: Any) -> None:
    import onnx_ir as ir

    tape = ir.tape.Tape(graph)
    for node in list(graph):
        source, other = (*node.inputs, None, None)[:2]
        values = array(other)
        if node.op_type == "ReduceMean" and is_float(source) and _all_positions(values, source.shape):
            made = tape.op("GlobalAveragePool", [source])
            if not node.attributes.get_int("keepdims", 1):
                made.type = source.type
                made = tape.op("Flatten", [made])
        elif node.op_type == "Gemm" and len(node.inputs) == 3 and array(node.inputs[2]) is None:
            gemm = tape.op("Gemm", node.inputs[:2], attributes(node))
            gemm.type = source.type
            made = tape.op("Add", [gemm, node.inputs[2]])
        elif node.op_type == "Sub" and values is not None and is_float(other):
            made = tape.op("Add", [source, constant(graph, f"{other.name}|negative", -values)])
        else:
            continue
        replace(node, made)
    graph.sort()


def _all_positions(axes: Any, shape: Any) -> bool:
    """Whether these are all axes but those of samples and channels."""
    rank = 0 if shape is None else len(shape)
    return axes is not None and rank > 2 and sorted(axes % rank) == list(range(2, rank))
