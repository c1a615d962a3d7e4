"""Integer arithmetic in a `.tflite` file, by `ai-edge-quantizer`, on grids and ranges that are given.

The quantizer derives a tensor's scale from its minimum and maximum. Given ±L · s for a weight, L being the largest
level of the type that holds it, it arrives at the scale s of the plan; given the ranges measured here for activations,
it needs no calibration of its own.
"""

import contextlib
import io
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import backend
from kcompress.formats._calibration import measure_ranges
from kcompress.formats._flatbuffer import schema
from kcompress.formats._plan import Stored
from kcompress.formats.base import Tensors, WriteOptions, cast_inputs
from kcompress.layers.plan import Activations
from kcompress.numerics import affine

WEIGHTED = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "CONV_3D": 1,
    "BATCH_MATMUL": 1,
    "TRANSPOSE_CONV": 1,
    "EMBEDDING_LOOKUP": 1,
    "GATHER": 0,
}
"""Operators with a kernel, and at which of their inputs."""
FOUR_BITS = {"CONV_2D", "FULLY_CONNECTED"}
"""Operators that LiteRT runs on 4-bit kernels with integer activations."""


def quantize(
    data: bytes, model: Any, stored: Mapping[int, Stored], activations: Activations, options: WriteOptions
) -> bytes:
    """The file with its planned kernels (by buffer index) and, in static mode, its activations as integers.

    Operators with a kernel that the plan does not name stay in float.
    """
    from ai_edge_quantizer import quantizer as library

    with backend.silenced(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the memory that keeping all tensors takes
        worker = library.Quantizer(bytearray(data))
        ranges = _weight_ranges(model, stored)
        if activations.mode == "static":
            assert options.calibration is not None
            tensors = _float_tensors(model)
            run = _observer(data, tensors)
            measured = measure_ranges(options.calibration, activations, run, run.inputs)
            ranges.update({name: _pair(low, high, tensors[name]) for name, (low, high) in measured.items()})
        _set_recipe(worker, model, stored, activations)
        result = worker.quantize(ranges or None, enable_progress_report=False, enable_progress_bar=False)
    return bytes(result.quantized_model)


def _pair(low: float, high: float, dimensions: int) -> dict[str, NDArray[Any]]:
    shape = (1,) * dimensions
    return {"min": np.full(shape, low, np.float32), "max": np.full(shape, high, np.float32)}


def _operators(model: Any) -> Iterator[tuple[Any, Any, str]]:
    """Graph, operator and operator name."""
    names = {value: name for name, value in vars(schema().BuiltinOperator).items() if not name.startswith("_")}
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            yield graph, operator, names[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _kernel(graph: Any, operator: Any, kind: str) -> Any | None:
    """The tensor at the place of the operator's kernel."""
    place = WEIGHTED.get(kind)
    if place is None or len(operator.inputs) <= place or operator.inputs[place] < 0:
        return None
    return graph.tensors[operator.inputs[place]]


def _bits(kind: str, stored: Stored) -> int:
    """Bits of the type that holds a kernel: the smallest that LiteRT runs for this operator."""
    return 4 if stored.bits <= 4 and kind in FOUR_BITS else 8


def _weight_ranges(model: Any, stored: Mapping[int, Stored]) -> dict[str, dict[str, NDArray[Any]]]:
    ranges = {}
    for graph, operator, kind in _operators(model):
        tensor = _kernel(graph, operator, kind)
        if tensor is not None and tensor.buffer in stored:
            entry = stored[tensor.buffer]
            shape = tuple(int(n) for n in tensor.shape)
            axis = _channel_axis(kind, shape)
            scale = np.broadcast_to(entry.scale, (shape[axis],)) if entry.axis is None else entry.scale
            reach = affine.along(scale * affine.largest_level(_bits(kind, entry)), (axis,), shape)
            ranges[tensor.name.decode()] = {"min": -reach, "max": reach}
    return ranges


def _channel_axis(kind: str, shape: tuple[int, ...]) -> int:
    return len(shape) - 1 if kind == "DEPTHWISE_CONV_2D" else 0


def _float_tensors(model: Any) -> dict[str, int]:
    """Names of the float32 tensors of the main graph that are computed, and how many dimensions they have."""
    graph = model.subgraphs[0]
    made = {index for operator in graph.operators for index in operator.outputs} | set(graph.inputs)
    tensors = {int(i): graph.tensors[i] for i in made}
    return {
        t.name.decode(): len(t.shape) if t.shape is not None else 0
        for t in tensors.values()
        if t.type == schema().TensorType.FLOAT32
    }


class _observer:  # noqa: N801 - used as a function
    """Runs a batch and yields every float tensor."""

    def __init__(self, data: bytes, tensors: Mapping[str, int]) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._interpreter = Interpreter(
            model_content=data,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        details = self._interpreter.get_input_details()
        names = self._interpreter.get_signature_list()["serving_default"]["inputs"]
        runner = self._interpreter.get_signature_runner("serving_default").get_input_details()
        by_index = {runner[name]["index"]: name for name in names}
        self._details = {by_index[d["index"]]: d for d in details}
        self.inputs = {name: _dimensions(d) for name, d in self._details.items()}
        self._wanted = {d["index"]: d["name"] for d in self._interpreter.get_tensor_details() if d["name"] in tensors}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def __call__(self, x: Tensors) -> Iterator[tuple[str, NDArray[Any]]]:
        arrays = cast_inputs(x, {name: d["dtype"] for name, d in self._details.items()})
        shapes = {name: value.shape for name, value in arrays.items()}
        if shapes != self._shapes:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self._details[name]["index"], shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for name, value in arrays.items():
            self._interpreter.set_tensor(self._details[name]["index"], value)
        self._interpreter.invoke()
        for index, name in self._wanted.items():
            with contextlib.suppress(ValueError):  # a tensor that the runtime needed only while it prepared
                yield name, self._interpreter.get_tensor(index)


def _dimensions(details: Any) -> tuple[int | None, ...]:
    sizes = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
    return tuple(None if size < 0 else int(size) for size in sizes)


def _set_recipe(worker: Any, model: Any, stored: Mapping[int, Stored], activations: Activations) -> None:
    """One setting for all operators, others for those whose kernel has fewer bits, none where it is not planned."""
    from ai_edge_quantizer import qtyping

    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    if activations.mode == "static":
        worker.add_static_config(".*", everything, activations.bits, 8)
    else:
        worker.add_dynamic_config(".*", everything, 8)
    scopes: dict[str | None, list[str]] = defaultdict(list)
    for graph, operator, kind in _operators(model):
        tensor = _kernel(graph, operator, kind)
        if tensor is None or model.buffers[tensor.buffer].data is None:
            continue
        if tensor.type != schema().TensorType.FLOAT32:
            continue
        scope = ";".join(graph.tensors[i].name.decode() for i in operator.outputs) + ";"
        if tensor.buffer not in stored:
            scopes[None].append(re.escape(scope))
        elif _bits(kind, stored[tensor.buffer]) == 4:
            scopes[kind].append(re.escape(scope))
    for number, (width, names) in enumerate(scopes.items()):
        regex = f"^(?:{'|'.join(names)})$" + "(?:)" * number
        if width is None:
            worker.update_quantization_recipe(regex, everything, None, "no_quantize")
        elif activations.mode == "static":
            worker.add_static_config(regex, qtyping.TFLOperationName(width), activations.bits, 4)
        else:
            worker.add_dynamic_config(regex, qtyping.TFLOperationName(width), 4)
    if activations.mode == "static" and activations.io == "float":
        for edge in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            worker.update_quantization_recipe(".*", edge, None, "no_quantize")
