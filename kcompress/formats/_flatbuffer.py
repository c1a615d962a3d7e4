"""The flatbuffer behind a `.tflite` file: taken apart, edited, put together.

A weight is stored in fewer bits as a constant of that type behind a DEQUANTIZE operator, whichever operator reads it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats._plan import Stored
from kcompress.numerics.packing import pack_levels

IDENTIFIER = b"TFL3"
SIGNATURE = b"serving_default"
DEQUANTIZE_VERSIONS = {"FLOAT16": 3, "INT8": 5, "INT4": 6}  # the first that take these types, per channel


def schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def unpack(data: bytes) -> Any:
    return schema().ModelT.InitFromObj(schema().Model.GetRootAs(data))


def pack(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def add_signature(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Name the main graph's inputs and outputs, in order, as runtimes look them up."""
    graph = model.subgraphs[0]

    def tensor_map(name: str, index: int) -> Any:
        entry = schema().TensorMapT()
        entry.name, entry.tensorIndex = name, index
        return entry

    definition = schema().SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = SIGNATURE, 0
    definition.inputs = [tensor_map(n, i) for n, i in zip(inputs, graph.inputs, strict=True)]
    definition.outputs = [tensor_map(n, i) for n, i in zip(outputs, graph.outputs, strict=True)]
    model.signatureDefs = [definition]


def float_constants(model: Any) -> dict[int, NDArray[Any]]:
    """Buffer index to values, for every float32 constant."""
    float32 = schema().TensorType.FLOAT32
    found = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if tensor.type == float32 and data is not None and len(data):
                values = np.frombuffer(np.asarray(data).tobytes(), np.float32)
                found[tensor.buffer] = values.reshape(tensor.shape)
    return found


def store(model: Any, constants: Mapping[int, Stored]) -> None:
    """Store the float32 constants in these buffers as given, each behind a DEQUANTIZE at the head of its graph."""
    opcodes: dict[str, int] = {}
    kinds = {}
    for index, stored in constants.items():
        if stored.levels is None:
            values = np.frombuffer(np.asarray(model.buffers[index].data).tobytes(), np.float32)
            kinds[index] = "FLOAT16"
            model.buffers[index].data = np.frombuffer(values.astype(np.float16).tobytes(), np.uint8)
        else:
            kinds[index] = "INT4" if stored.bits <= 4 else "INT8"
            model.buffers[index].data = pack_levels(stored.levels, 4 if stored.bits <= 4 else 8)
    for graph in model.subgraphs:
        heads = []
        for position, tensor in enumerate(list(graph.tensors)):
            if tensor.buffer not in constants or tensor.type != schema().TensorType.FLOAT32:
                continue
            kind = kinds[tensor.buffer]
            if kind not in opcodes:
                opcodes[kind] = _dequantize(model, DEQUANTIZE_VERSIONS[kind])
            graph.tensors.append(_constant(tensor, kind, constants[tensor.buffer]))
            tensor.buffer = 0
            operator = schema().OperatorT()
            operator.opcodeIndex = opcodes[kind]
            operator.inputs, operator.outputs = [len(graph.tensors) - 1], [position]
            operator.builtinOptionsType = schema().BuiltinOptions.DequantizeOptions
            operator.builtinOptions = schema().DequantizeOptionsT()
            heads.append(operator)
        graph.operators = heads + list(graph.operators)


def _dequantize(model: Any, version: int) -> int:
    """Add an operator code for DEQUANTIZE; its index."""
    code = schema().OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema().BuiltinOperator.DEQUANTIZE
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _constant(tensor: Any, kind: str, stored: Stored) -> Any:
    """The small counterpart of a float32 constant."""
    constant = schema().TensorT()
    constant.shape, constant.buffer = tensor.shape, tensor.buffer
    constant.type = getattr(schema().TensorType, kind)
    constant.name = (tensor.name or b"") + b"_" + kind.lower().encode()
    if stored.levels is not None:
        constant.quantization = schema().QuantizationParametersT()
        constant.quantization.scale = stored.scale.astype(np.float32)
        constant.quantization.zeroPoint = np.zeros(len(stored.scale), np.int64)
        constant.quantization.quantizedDimension = stored.axis or 0
    return constant
