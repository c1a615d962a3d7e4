"""The `.tflite` flatbuffer of LiteRT: written by TensorFlow's converter, then edited; run by `ai-edge-litert`.

The converter gets the model with its weights frozen, which saves it a SavedModel on disk and most of its time. The
edit gives the file a `serving_default` signature with the model's own input and output names, and stores each planned
weight in its format: a float16 weight becomes a float16 constant behind a DEQUANTIZE operator, which LiteRT's kernels
take in.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import backend
from kcompress.errors import ModelError
from kcompress.formats import _safety, _tensorflow
from kcompress.formats._plan import match_plan
from kcompress.formats.base import Description, Format, Row, Runner, Tensors, WriteOptions, Written, cast_inputs
from kcompress.graph.signature import signature
from kcompress.layers.plan import QuantPlan

IDENTIFIER = b"TFL3"
SIGNATURE = b"serving_default"
DEQUANTIZE_VERSION = 3  # the first that takes float16


class TFLite(Format):
    suffixes = (".tflite",)
    extra = "tensorflow"
    modules = ("tensorflow", "ai_edge_litert")
    writes = True

    def write(self, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
        self.require(f"writing {path.name}")
        if not _tensorflow.on_tensorflow():
            return _tensorflow.in_child(self.name, model, plan, path, options)
        data, notes = _convert(model, path, options.batch)
        buffer = _unpack(data)
        sign = signature(model)
        _add_signature(buffer, tuple(sign.inputs), sign.outputs)
        tensors = {str(index): values for index, values in _float_constants(buffer).items()} if plan else {}
        found, missing = match_plan(model, plan, tensors)
        _store_float16(buffer, {int(index) for index in found})
        path.write_bytes(_pack(buffer))
        return Written(missing, notes)

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        self.require(f"running {path.name}")
        return LiteRTRunner(path)

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        self.require(f"reading {path.name}")
        return _describe(self.name, _unpack(path.read_bytes()), runner or LiteRTRunner(path))


def _convert(model: Any, path: Path, batch: int | None) -> tuple[bytes, tuple[str, ...]]:
    """The converter's flatbuffer, and remarks. Loops of recurrent layers force a fixed batch size, which is then 1."""
    import tensorflow as tf

    try:
        with backend.silenced():
            frozen = _tensorflow.frozen_graph(model, batch)
            graph = frozen.definition, list(frozen.inputs), list(frozen.outputs)
            return tf.compat.v1.lite.TFLiteConverter(*graph).convert(), ()
    except Exception as error:
        if batch is None and "TensorList" in str(error):
            data, _ = _convert(model, path, 1)
            return data, ("the batch size is fixed at 1: LiteRT cannot run recurrent layers with a dynamic one",)
        raise _tensorflow.explain_failure(path, error, _unknown_operators) from error


class LiteRTRunner:
    """A `.tflite` file in LiteRT's interpreter, with its default kernels and threads."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            with backend.silenced():
                self._interpreter = Interpreter(model_path=str(path))
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: LiteRT cannot load it ({_safety.one_line(error)}); convert it again") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        names = _signature_names(path)
        self._inputs = {names.get(d["index"], d["name"]): d for d in inputs}
        self._outputs = [d["index"] for d in outputs]
        self.inputs = {
            name: tuple(None if size < 0 else int(size) for size in _shape(d)) for name, d in self._inputs.items()
        }
        self.outputs = tuple(names.get(d["index"], d["name"]) for d in outputs)

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        tensors = cast_inputs(x, {name: d["dtype"] for name, d in self._inputs.items()})
        current = {d["index"]: tuple(d["shape"]) for d in self._interpreter.get_input_details()}
        if any(current[self._inputs[name]["index"]] != value.shape for name, value in tensors.items()):
            for name, value in tensors.items():
                self._interpreter.resize_tensor_input(self._inputs[name]["index"], value.shape)
            self._interpreter.allocate_tensors()
        for name, value in tensors.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def _shape(details: Any) -> Any:
    signature_shape = details["shape_signature"]
    return signature_shape if len(signature_shape) else details["shape"]


def _schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def _unpack(data: bytes) -> Any:
    schema = _schema()
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))


def _pack(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _unknown_operators(message: str) -> list[str]:
    return re.findall(r"tf\.[A-Z]\w+", message)


def _add_signature(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Name the main graph's inputs and outputs, in order, as runtimes look them up."""
    schema = _schema()
    graph = model.subgraphs[0]

    def tensor_map(name: str, index: int) -> Any:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        return entry

    definition = schema.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = SIGNATURE, 0
    definition.inputs = [tensor_map(n, i) for n, i in zip(inputs, graph.inputs, strict=True)]
    definition.outputs = [tensor_map(n, i) for n, i in zip(outputs, graph.outputs, strict=True)]
    model.signatureDefs = [definition]


def _signature_names(path: Path) -> dict[int, str]:
    schema = _schema()
    model = schema.Model.GetRootAs(path.read_bytes())
    if not model.SignatureDefsLength():
        return {}
    definition = model.SignatureDefs(0)
    entries = [definition.Inputs(i) for i in range(definition.InputsLength())]
    entries += [definition.Outputs(i) for i in range(definition.OutputsLength())]
    return {entry.TensorIndex(): entry.Name().decode() for entry in entries}


def _float_constants(model: Any) -> dict[int, NDArray[Any]]:
    """Buffer index to values, for every float32 constant."""
    float32 = _schema().TensorType.FLOAT32
    found = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if tensor.type == float32 and data is not None and len(data):
                values = np.frombuffer(np.asarray(data).tobytes(), np.float32)
                found[tensor.buffer] = values.reshape(tensor.shape)
    return found


def _store_float16(model: Any, buffers: set[int]) -> None:
    """Turn the constants in these buffers into float16, each behind a DEQUANTIZE at the head of its graph."""
    if not buffers:
        return
    schema = _schema()
    for index in buffers:
        values = np.frombuffer(np.asarray(model.buffers[index].data).tobytes(), np.float32)
        model.buffers[index].data = np.frombuffer(values.astype(np.float16).tobytes(), np.uint8)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = DEQUANTIZE_VERSION
    model.operatorCodes.append(code)
    for graph in model.subgraphs:
        heads = []
        for position, tensor in enumerate(list(graph.tensors)):
            if tensor.buffer not in buffers:
                continue
            constant = schema.TensorT()
            constant.shape, constant.type, constant.buffer = tensor.shape, schema.TensorType.FLOAT16, tensor.buffer
            constant.name = (tensor.name or b"") + b"_float16"
            tensor.buffer = 0
            graph.tensors.append(constant)
            operator = schema.OperatorT()
            operator.opcodeIndex = len(model.operatorCodes) - 1
            operator.inputs, operator.outputs = [len(graph.tensors) - 1], [position]
            operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
            operator.builtinOptions = schema.DequantizeOptionsT()
            heads.append(operator)
        graph.operators = heads + list(graph.operators)


def _describe(form: str, model: Any, runner: Runner) -> Description:
    schema = _schema()
    kinds = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    numbers = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    weights: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    stored = 0
    seen: set[int] = set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data) or tensor.buffer in seen or not _is_weight(kinds[tensor.type], tensor):
                continue
            seen.add(tensor.buffer)
            weights[kinds[tensor.type]] += int(np.prod(tensor.shape, dtype=np.int64))
            alive[kinds[tensor.type]] += _nonzero(kinds[tensor.type], np.asarray(data), tensor)
            stored += len(data)
    operators = Counter(
        numbers[max(code.builtinCode, code.deprecatedBuiltinCode)]
        for graph in model.subgraphs
        for code in (model.operatorCodes[operator.opcodeIndex] for operator in graph.operators)
    )
    rows = [Row(f"{kind} weights", "tensors", "", weights[kind], alive[kind]) for kind in sorted(weights)]
    rows += [Row(name, f"{count} operators", "", 0, 0) for name, count in sorted(operators.items())]
    return Description(form, runner.inputs, runner.outputs, weights.total(), alive.total(), stored, tuple(rows))


def _is_weight(kind: str, tensor: Any) -> bool:
    quantized = tensor.quantization is not None and tensor.quantization.scale is not None
    return kind in ("FLOAT32", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT4", "INT2") or (
        kind in ("INT16", "INT32", "INT64") and quantized
    )


def _nonzero(kind: str, data: NDArray[Any], tensor: Any) -> int:
    """Values that stand for something other than zero."""
    dtypes = {
        "FLOAT32": "f4",
        "FLOAT16": "f2",
        "INT16": "i2",
        "INT32": "i4",
        "INT64": "i8",
        "INT8": "i1",
        "UINT8": "u1",
    }
    if kind in dtypes:
        zero = tensor.quantization.zeroPoint if tensor.quantization is not None else None
        offset = int(zero[0]) if zero is not None and len(zero) else 0
        return int(np.count_nonzero(np.frombuffer(data.tobytes(), dtypes[kind]) != offset))
    if kind == "BFLOAT16":
        return int(np.count_nonzero(np.frombuffer(data.tobytes(), "u2") & 0x7FFF))
    bits = 4 if kind == "INT4" else 2
    fields = [(data >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return int(sum(np.count_nonzero(field) for field in fields))
