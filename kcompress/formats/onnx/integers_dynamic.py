"""Products of integers in an ONNX graph whose activations are quantized as they come.

y = (q_x - z) q_w · s_x s_w + b, where DynamicQuantizeLinear finds s_x and z from the values of each call, and
MatMulInteger or ConvInteger sums the products in int32. All values between layers are floats.
"""

from collections.abc import Mapping
from typing import Any

from kcompress.formats.onnx.graph import attributes, constant, replace
from kcompress.formats.onnx.product import Product, product
from kcompress.formats.onnx.weights import kernel_codes
from kcompress.formats.stored_tensors import StoredTensor

PRODUCTS = {"Conv": "ConvInteger", "Gemm": "MatMulInteger", "MatMul": "MatMulInteger"}


def to_dynamic_integers(model: Any, kernels: Mapping[str, StoredTensor]) -> dict[str, set[Any]]:
    """Make the products with planned kernels integer ones. Returns by kernel the integer values that stand for it."""
    import onnx_ir as ir

    tape = ir.tape.Tape(model.graph)
    codes: dict[str, set[Any]] = {}
    seen: dict[Any, Any] = {}
    for node in list(model.graph):
        found = product(node, kernels) if node.op_type in PRODUCTS else None
        if found is None:
            continue
        source, convolves = node.inputs[0], node.op_type == "Conv"
        if source not in seen:
            seen[source] = tape.op_multi_out("DynamicQuantizeLinear", [source], num_outputs=3)
        turned = node.op_type == "Gemm" and found.axis == 0
        name = f"{found.kernel}|turned" if turned else found.kernel
        if name not in seen:
            levels = found.levels.T if turned else found.levels
            # ONNX Runtime's ConvInteger is slow on int8 kernels
            seen[name] = kernel_codes(model, name, levels, found.bits, unsigned=convolves)
        code, zero = seen[name]
        codes.setdefault(found.kernel, set()).add(code)
        replace(node, _multiply(tape, node, found, seen[source], [code, constant(model.graph, f"zero_{zero}", zero)]))
    return codes


def _multiply(tape: Any, node: Any, found: Product, source: list[Any], kernel: list[Any]) -> Any:
    import onnx_ir as ir

    name, convolves = node.outputs[0].name, node.op_type == "Conv"
    shape = (-1, *(1 for _ in range(found.levels.ndim - 2))) if convolves else (-1,)
    inputs = [source[0], kernel[0], source[2], kernel[1]]
    total = tape.op(PRODUCTS[node.op_type], inputs, attributes(node) if convolves else None)
    total = tape.op("Cast", [total], {"to": ir.DataType.FLOAT})
    own = constant(tape.graph_like, f"{found.kernel}|scale", found.scale.reshape(shape))
    value = tape.op("Mul", [total, tape.op("Mul", [source[1], own])])
    if found.bias is None:
        return value
    return tape.op("Add", [value, constant(tape.graph_like, f"{name}|bias", found.bias.reshape(shape))])
