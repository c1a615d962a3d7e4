"""Planned weights in an ONNX graph: whole numbers in their smallest storage, unpacked to int8, then times a scale.

More than 4 bits are an INT8 initializer; 3 and 4 bits INT4 behind a Cast. ONNX Runtime knows no smaller type, so 2 bits
and 1 are packed 4 or 8 to a byte, and every byte looks up its numbers in a table of 256 rows (Gather, Reshape), which
the weights of a file share. ONNX Runtime folds all of it when it loads the file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.onnx.graph import constant
from kcompress.formats.stored_tensors import StoredTensor
from kcompress.numerics import affine
from kcompress.numerics.packing import pack_levels, unpacking_table

SAFE = 32767 // (2 * 255)  # the largest level of an int8 kernel of which no pair of products with uint8 saturates
OPSET_OF_INT4, IR_OF_INT4 = 21, 10  # the first with 4-bit tensors


def storage_bits(levels: NDArray[np.int32], bits: int) -> int:
    """Bits that a weight takes in the file: the smallest of 1, 2, 4 and 8 that hold it; one bit holds no zeros."""
    least = 2 if bits == 1 and not levels.all() else bits
    return next(size for size in (1, 2, 4, 8) if least <= size)


def store(model: Any, weights: Mapping[str, StoredTensor]) -> None:
    """Store these float32 initializers as given, each behind the operators that turn it back.

    The last one is a Mul. ONNX Runtime turns DequantizeLinear before MatMul into its own MatMulNBits, which rounds
    activations to 8 bits, and that is not the function that was asked for.
    """
    import onnx_ir as ir

    graph = model.graph
    tape = ir.tape.Tape(graph)
    for name, stored in weights.items():
        value = graph.initializers.pop(name)
        if stored.levels is None:
            half = constant(graph, f"{name}|float16", value.const_value.numpy().astype(np.float16))
            made = tape.op("Cast", [half], {"to": ir.DataType.FLOAT})
        else:
            label = f"{name}|float"  # the same weight may be there as integers already
            levels = unpacked(model, label, stored.levels, stored.bits)
            axes = () if stored.axis is None else (stored.axis,)
            scale = constant(graph, f"{label}|scale", affine.along(stored.scale, axes, stored.levels.shape))
            made = tape.op("Mul", [tape.op("Cast", [levels], {"to": ir.DataType.FLOAT}), scale])
        value.replace_all_uses_with(made)


def unpacked(model: Any, name: str, levels: NDArray[np.int32], bits: int) -> Any:
    """An int8 value that holds `levels`, from constants of the fewest bits; `name` is what these are called after."""
    import onnx_ir as ir

    graph, bits = model.graph, storage_bits(levels, bits)
    data = pack_levels(levels, bits)
    if bits == 8:
        return constant(graph, f"{name}|int8", levels.astype(np.int8))
    tape = ir.tape.Tape(graph)
    if bits == 4:
        _raise_opset(model, OPSET_OF_INT4, IR_OF_INT4)
        packed = constant(graph, f"{name}|int4", ir.PackedTensor(data, ir.DataType.INT4, shape=levels.shape))
        return tape.op("Cast", [packed], {"to": ir.DataType.INT8})
    table = constant(graph, f"table_of_{bits}_bits", unpacking_table(bits))
    index = tape.op("Cast", [constant(graph, f"{name}|bytes", data)], {"to": ir.DataType.INT32})
    rows = tape.op("Gather", [table, index])
    if data.size * 8 // bits != levels.size:
        flat = tape.op("Reshape", [rows, constant(graph, "flat", np.array([-1]))])
        ends = [constant(graph, "start", np.array([0])), constant(graph, f"{name}|size", np.array([levels.size]))]
        rows = tape.op("Slice", [flat, *ends])
    return tape.op("Reshape", [rows, constant(graph, f"{name}|shape", np.array(levels.shape, np.int64))])


def _raise_opset(model: Any, version: int, ir_version: int) -> None:
    """Declare a newer version of the standard operators; those that tf2onnx writes mean the same in it."""
    for domain in model.opset_imports.keys() & {"", "ai.onnx"}:
        model.opset_imports[domain] = max(model.opset_imports[domain], version)
    model.ir_version = max(model.ir_version, ir_version)


def kernel_codes(
    model: Any, name: str, levels: NDArray[np.int32], bits: int, unsigned: bool = False
) -> tuple[Any, np.integer]:
    """A kernel as integers that are multiplied by uint8 exactly on every processor, and their zero point.

    Processors without 8-bit dot products add pairs of products with int8 in 16 bits, which saturate where a level is
    beyond 64: such kernels are uint8 around 128; so are others if they are to be `unsigned`. The rest is int8.
    """
    import onnx_ir as ir

    if not unsigned and np.abs(levels).max(initial=0) <= SAFE:
        return unpacked(model, name, levels, bits), np.int8(0)
    zero = np.uint8(128)
    if storage_bits(levels, bits) == 8:
        return constant(model.graph, f"{name}|uint8", (levels + 128).astype(np.uint8)), zero
    tape = ir.tape.Tape(model.graph)
    signed = tape.op("Cast", [unpacked(model, name, levels, bits)], {"to": ir.DataType.INT32})
    shifted = tape.op("Add", [signed, constant(model.graph, "128", np.int32(128))])
    return tape.op("Cast", [shifted], {"to": ir.DataType.UINT8}), zero
