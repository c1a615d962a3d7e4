"""Planned weights in an ONNX graph: whole numbers in their smallest storage, unpacked to int8, then times a scale.

More than 4 bits are an INT8 initializer; 3 and 4 bits INT4 behind a Cast. ONNX Runtime knows no smaller type, so 2 bits
and 1 are packed 4 or 8 to a byte, and every byte looks up its numbers in a table of 256 rows (Gather, Reshape), which
the weights of a file share. ONNX Runtime folds all of it when it loads the file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.onnx.draft import Draft
from kcompress.formats.onnx.order import copied
from kcompress.formats.stored_tensors import StoredTensor
from kcompress.numerics import affine
from kcompress.numerics.packing import pack_levels, unpacking_table

SAFE = 32767 // (2 * 255)  # the largest level of an int8 kernel of which no pair of products with uint8 saturates
OPSET_OF_INT4, IR_OF_INT4 = 21, 10  # the first with 4-bit tensors


def storage_bits(levels: NDArray[np.int32], bits: int) -> int:
    """Bits that a weight takes in the file: the smallest of 1, 2, 4 and 8 that hold it; one bit holds no zeros."""
    least = 2 if bits == 1 and not levels.all() else bits
    return next(size for size in (1, 2, 4, 8) if least <= size)


def store(proto: Any, weights: Mapping[str, StoredTensor]) -> None:
    """Store these float32 initializers as given, each behind the operators that turn it back, at the graph's head.

    The last one is a Mul. ONNX Runtime turns DequantizeLinear before MatMul into its own MatMulNBits, which rounds
    activations to 8 bits, and that is not the function that was asked for.
    """
    import onnx

    draft = Draft(proto)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.name in weights}
    for name, tensor in tensors.items():
        stored = weights[name]
        if stored.levels is None:
            half = draft.constant(f"{name}|float16", onnx.numpy_helper.to_array(tensor).astype(np.float16))
            draft.add("Cast", [half], name, to=onnx.TensorProto.FLOAT)
            continue
        label = f"{name}|float"  # the same weight may be there as integers already
        levels = unpacked(draft, label, stored.levels, stored.bits)
        axes = () if stored.axis is None else (stored.axis,)
        scale = draft.constant(f"{label}|scale", affine.along(stored.scale, axes, stored.levels.shape))
        level = draft.add("Cast", [levels], f"{label}|level", to=onnx.TensorProto.FLOAT)
        draft.add("Mul", [level, scale], name)
    rest = [tensor for tensor in proto.graph.initializer if tensor.name not in tensors]
    kept = [copied(tensor) for tensor in rest]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    for node in proto.graph.node:
        draft.keep(node)
    draft.replace()


def unpacked(draft: Draft, name: str, levels: NDArray[np.int32], bits: int) -> str:
    """An int8 value that holds `levels`, from constants of the fewest bits; what is called `name` here names them."""
    import onnx

    final, bits = f"{name}|int8", storage_bits(levels, bits)
    data = pack_levels(levels, bits)
    if bits == 8:
        return draft.constant(final, levels.astype(np.int8))
    if bits == 4:
        draft.raise_opset(OPSET_OF_INT4, IR_OF_INT4)
        kind = onnx.TensorProto.INT4
        draft.append(onnx.helper.make_tensor(f"{name}|int4", kind, levels.shape, data.tobytes(), raw=True))
        return draft.add("Cast", [f"{name}|int4"], final, to=onnx.TensorProto.INT8)
    table = draft.constant(f"table_of_{bits}_bits", unpacking_table(bits))
    index = draft.add("Cast", [draft.constant(f"{name}|bytes", data)], f"{name}|index", to=onnx.TensorProto.INT32)
    rows = draft.add("Gather", [table, index], f"{name}|rows")
    if data.size * 8 // bits != levels.size:
        flat = draft.add("Reshape", [rows, draft.constant("flat", np.array([-1]))], f"{name}|flat")
        ends = [draft.constant("start", np.array([0])), draft.constant(f"{name}|size", np.array([levels.size]))]
        rows = draft.add("Slice", [flat, *ends], f"{name}|slice")
    shape = draft.constant(f"{name}|shape", np.array(levels.shape, np.int64))
    return draft.add("Reshape", [rows, shape], final)


def kernel_codes(
    draft: Draft, name: str, levels: NDArray[np.int32], bits: int, unsigned: bool = False
) -> tuple[str, np.integer]:
    """A kernel as integers that are multiplied by uint8 exactly on every processor, and their zero point.

    Processors without 8-bit dot products add pairs of products with int8 in 16 bits, which saturate where a level is
    beyond 64: such kernels are uint8 around 128; so are others if they are to be `unsigned`. The rest is int8.
    """
    import onnx

    if not unsigned and np.abs(levels).max(initial=0) <= SAFE:
        return unpacked(draft, name, levels, bits), np.int8(0)
    zero = np.uint8(128)
    if storage_bits(levels, bits) == 8:
        return draft.constant(f"{name}|uint8", (levels + 128).astype(np.uint8)), zero
    signed = draft.add("Cast", [unpacked(draft, name, levels, bits)], f"{name}|int32", to=onnx.TensorProto.INT32)
    shifted = draft.add("Add", [signed, draft.constant("128", np.int32(128))], f"{name}|shifted")
    return draft.add("Cast", [shifted], f"{name}|uint8", to=onnx.TensorProto.UINT8), zero
