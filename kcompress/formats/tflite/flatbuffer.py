"""The flatbuffer behind a `.tflite` file: taken apart, edited, put together.

A weight is stored in fewer bits as a constant of that type behind a DEQUANTIZE operator, whichever operator reads it.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.formats.stored_tensors import StoredTensor
from kcompress.numerics.packing import least_bits, pack_levels

IDENTIFIER = b"TFL3"
SIGNATURE = b"serving_default"
DEQUANTIZE_VERSIONS = {"FLOAT16": 3, "INT8": 5, "INT4": 6, "INT2": 7}  # the first that take these types, per channel


def schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def unpack(data: bytes) -> Any:
    """The file as objects; buffers that lie behind the flatbuffer proper are taken into it."""
    model = schema().ModelT.InitFromObj(schema().Model.GetRootAs(data))
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1 stand for none
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def pack(model: Any) -> bytes:
    """The file of these objects; arrays of equal content, such as the zero points of channels, are written once."""
    import flatbuffers

    class Builder(flatbuffers.Builder):  # type: ignore[misc]  # no types
        def __init__(self) -> None:
            super().__init__(1 << 20)
            self.made: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 - the name is the library's
            key = x.dtype.str, x.tobytes()
            if key not in self.made:
                self.made[key] = super().CreateNumpyVector(x)
            return self.made[key]

    builder = Builder()
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def shorten_names(model: Any) -> None:
    """Call each tensor after the first of the operators that were merged into it, with a number where that is taken."""
    for graph in model.subgraphs:
        taken: set[bytes] = set()
        for tensor in graph.tensors:
            name = (tensor.name or b"").split(b";")[0]
            tensor.name = next(each for each in itertools.chain([name], _numbered(name)) if each not in taken)
            taken.add(tensor.name)


def _numbered(name: bytes) -> Iterator[bytes]:
    return (b"%s_%d" % (name, number) for number in itertools.count(1))


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


def signature_names(data: bytes) -> dict[int, str]:
    """Index of an input's or output's tensor to its name in the first signature; empty without one."""
    model = schema().Model.GetRootAs(data)
    if not model.SignatureDefsLength():
        return {}
    definition = model.SignatureDefs(0)
    entries = [definition.Inputs(i) for i in range(definition.InputsLength())]
    entries += [definition.Outputs(i) for i in range(definition.OutputsLength())]
    return {entry.TensorIndex(): entry.Name().decode() for entry in entries}


def operators(model: Any) -> Iterator[tuple[Any, Any, str]]:
    """Every operator: the graph that it stands in, itself, and the name of its kind."""
    names = {value: name for name, value in vars(schema().BuiltinOperator).items() if not name.startswith("_")}
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            yield graph, operator, names[max(code.builtinCode, code.deprecatedBuiltinCode)]


def is_float_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return tensor.type == schema().TensorType.FLOAT32 and data is not None and len(data) > 0


def float_constants(model: Any) -> dict[str, NDArray[Any]]:
    """Tensor name to values, for every float32 constant."""
    return {
        tensor.name.decode(): _values(model, tensor)
        for graph in model.subgraphs
        for tensor in graph.tensors
        if is_float_constant(model, tensor)
    }


def _values(model: Any, tensor: Any) -> NDArray[np.float32]:
    data = np.asarray(model.buffers[tensor.buffer].data)
    return np.frombuffer(data.tobytes(), np.float32).reshape(tensor.shape)


def store(model: Any, constants: Mapping[str, StoredTensor]) -> None:
    """Store these float32 constants, by tensor name, as given, each behind a DEQUANTIZE at the head of its graph."""
    opcodes: dict[str, int] = {}
    done: set[int] = set()
    for graph in model.subgraphs:
        heads = []
        for position, tensor in enumerate(list(graph.tensors)):
            stored = constants.get(tensor.name.decode()) if tensor.name else None
            if stored is None:
                continue
            kind = "FLOAT16" if stored.levels is None else f"INT{least_bits(stored.levels)}"
            if tensor.buffer not in done:
                model.buffers[tensor.buffer].data = _packed(model, tensor, stored)
                done.add(tensor.buffer)
            if kind not in opcodes:
                opcodes[kind] = operator_code(model, "DEQUANTIZE", DEQUANTIZE_VERSIONS[kind])
            graph.tensors.append(_constant(tensor, kind, stored))
            tensor.buffer = 0
            operator = schema().OperatorT()
            operator.opcodeIndex = opcodes[kind]
            operator.inputs, operator.outputs = [len(graph.tensors) - 1], [position]
            operator.builtinOptionsType = schema().BuiltinOptions.DequantizeOptions
            operator.builtinOptions = schema().DequantizeOptionsT()
            heads.append(operator)
        graph.operators = heads + list(graph.operators)


def _packed(model: Any, tensor: Any, stored: StoredTensor) -> NDArray[np.uint8]:
    if stored.levels is None:
        return np.frombuffer(_values(model, tensor).astype(np.float16).tobytes(), np.uint8)
    return pack_levels(stored.levels, least_bits(stored.levels))


def operator_code(model: Any, kind: str, version: int) -> int:
    """Add the code of an operator; its index."""
    code = schema().OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema().BuiltinOperator, kind)
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _constant(tensor: Any, kind: str, stored: StoredTensor) -> Any:
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
