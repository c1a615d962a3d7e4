"""The `.tflite` flatbuffer of LiteRT: written by TensorFlow's converter, then edited; run by `ai-edge-litert`.

The converter gets the model with its weights frozen, which saves it a SavedModel on disk and most of its time. The
edit gives the file a `serving_default` signature with the model's own input and output names, and stores each planned
weight in its format: where activations are to be integers `ai-edge-quantizer` rewrites the operators; all other planned
weights become small constants behind a DEQUANTIZE operator.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kcompress import backend
from kcompress.errors import ModelError
from kcompress.formats import _safety, _tensorflow, _tflite_integer
from kcompress.formats._flatbuffer import add_signature, float_constants, pack, schema, store, unpack
from kcompress.formats._plan import match_plan
from kcompress.formats._tflite_rows import describe, float_operators
from kcompress.formats.base import Description, Format, Runner, Tensors, WriteOptions, Written, cast_inputs
from kcompress.graph.signature import signature
from kcompress.layers.plan import QuantPlan


class TFLite(Format):
    suffixes = (".tflite",)
    extra = "tensorflow"
    modules = ("tensorflow", "ai_edge_litert")
    activations = frozenset({("static", 8), ("static", 16), ("dynamic", 8)})
    writes = True

    def write(self, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
        self.require(f"writing {path.name}")
        if not _tensorflow.on_tensorflow():
            return _tensorflow.in_child(self.name, model, plan, path, options)
        data, notes = _convert(model, path, options.batch)
        buffer = unpack(data)
        sign = signature(model)
        add_signature(buffer, tuple(sign.inputs), sign.outputs)
        tensors = {str(index): values for index, values in float_constants(buffer).items()} if plan else {}
        found, missing = match_plan(model, plan, tensors)
        stored = {int(index): entry for index, entry in found.items()}
        if plan.activations is not None:
            whole = {index: entry for index, entry in stored.items() if entry.levels is not None}
            buffer = unpack(_tflite_integer.quantize(pack(buffer), buffer, whole, plan.activations, options))
            left = float_constants(buffer)
            stored = {index: entry for index, entry in stored.items() if index in left}
        store(buffer, stored)
        path.write_bytes(pack(buffer))
        return Written(missing, (*notes, *_left_in_float(buffer, plan)))

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        self.require(f"running {path.name}")
        return LiteRTRunner(path)

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        self.require(f"reading {path.name}")
        return describe(self.name, unpack(path.read_bytes()), runner or LiteRTRunner(path))


def _left_in_float(buffer: Any, plan: QuantPlan) -> tuple[str, ...]:
    """What an integer file still computes in float, as a remark."""
    if plan.activations is None or plan.activations.mode != "static":
        return ()
    left = float_operators(buffer)
    if not left:
        return ()
    return (f"computed in float: {', '.join(f'{name} ({count})' for name, count in sorted(left.items()))}",)


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


def _unknown_operators(message: str) -> list[str]:
    return re.findall(r"tf\.[A-Z]\w+", message)


def _signature_names(path: Path) -> dict[int, str]:
    model = schema().Model.GetRootAs(path.read_bytes())
    if not model.SignatureDefsLength():
        return {}
    definition = model.SignatureDefs(0)
    entries = [definition.Inputs(i) for i in range(definition.InputsLength())]
    entries += [definition.Outputs(i) for i in range(definition.OutputsLength())]
    return {entry.TensorIndex(): entry.Name().decode() for entry in entries}
