"""Products of integers in an ONNX graph whose activations are quantized as they come.

y = (q_x - z) q_w · s_x s_w + b, where DynamicQuantizeLinear finds s_x and z from the values of each call, and
MatMulInteger or ConvInteger sums the products in int32. All values between layers are floats.
"""

from collections.abc import Mapping
from typing import Any

from kcompress.formats.onnx.draft import Draft
from kcompress.formats.onnx.graph import Graph, Product, attributes
from kcompress.formats.onnx.weights import kernel_codes
from kcompress.formats.stored_tensors import StoredTensor

PRODUCTS = {"Conv": "ConvInteger", "Gemm": "MatMulInteger", "MatMul": "MatMulInteger"}


def to_dynamic_integers(proto: Any, kernels: Mapping[str, StoredTensor]) -> dict[str, set[str]]:
    """Make the products with planned kernels integer ones. Returns by kernel the integer tensors that stand for it."""
    graph, draft = Graph(proto), Draft(proto)
    codes: dict[str, set[str]] = {}
    seen: dict[str, Any] = {}
    for node in graph.nodes.values():
        product = graph.product(node, kernels) if node.op_type in PRODUCTS else None
        if product is None:
            draft.keep(node)
            continue
        source = node.input[0]
        if source not in seen:
            parts = [f"{source}|input_{part}" for part in ("code", "scale", "zero")]
            draft.add("DynamicQuantizeLinear", [source], *parts)
            seen[source] = parts
        turned = node.op_type == "Gemm" and product.axis == 0
        name = f"{product.kernel}|turned" if turned else product.kernel
        if name not in seen:
            levels = product.levels.T if turned else product.levels
            # ONNX Runtime's ConvInteger is slow on int8 kernels
            seen[name] = kernel_codes(draft, name, levels, product.bits, unsigned=node.op_type == "Conv")
        code, zero = seen[name]
        codes.setdefault(product.kernel, set()).add(code)
        _multiply(draft, node, product, seen[source], [code, draft.constant(f"zero_{zero}", zero)])
    draft.replace()
    return codes


def _multiply(draft: Draft, node: Any, product: Product, source: list[str], kernel: list[str]) -> None:
    import onnx

    result, convolves = node.output[0], node.op_type == "Conv"
    shape = (-1, *(1 for _ in range(product.levels.ndim - 2))) if convolves else (-1,)
    settings = attributes(node) if convolves else {}
    inputs = [source[0], kernel[0], source[2], kernel[1]]
    total = draft.add(PRODUCTS[node.op_type], inputs, f"{result}|total", **settings)
    total = draft.add("Cast", [total], f"{result}|sum", to=onnx.TensorProto.FLOAT)
    own = draft.constant(f"{product.kernel}|scale", product.scale.reshape(shape))
    scale = draft.add("Mul", [source[1], own], f"{result}|scale")
    if product.bias is None:
        draft.add("Mul", [total, scale], result)
        return
    value = draft.add("Mul", [total, scale], f"{result}|product")
    draft.add("Add", [value, draft.constant(f"{result}|bias", product.bias.reshape(shape))], result)
