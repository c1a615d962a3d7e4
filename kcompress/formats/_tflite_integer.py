"""Integer arithmetic in a `.tflite` file, by `ai-edge-quantizer`, on grids and ranges that are given.

The quantizer derives a tensor's scale from its minimum and maximum. Given ±L · s for a weight, L being the largest
level of the type that holds it, it arrives at the scale s of the plan; given the ranges measured here for activations,
it needs no calibration of its own. Where it could not keep a planned grid it is told to leave the operator in float.
"""

import contextlib
import io
import re
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import backend
from kcompress.formats._calibration import measure_ranges
from kcompress.formats._flatbuffer import is_float_constant, operators
from kcompress.formats._litert import LiteRTRunner
from kcompress.formats._plan import Stored
from kcompress.formats.base import Tensors, WriteOptions
from kcompress.layers.plan import Activations
from kcompress.numerics import affine

CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
"""Operators whose kernel, their second input, LiteRT takes as integers with a scale per channel: the axis of those."""
OTHERS = {"CONV_3D": 1, "CONV_3D_TRANSPOSE": 1, "BATCH_MATMUL": 1, "EMBEDDING_LOOKUP": 1, "GATHER": 0}
"""Operators with a kernel that it does not, or with other scales: at which of their inputs it is."""
FOUR_BITS = {"CONV_2D", "FULLY_CONNECTED"}
"""Operators that LiteRT runs on 4-bit kernels with integer activations."""


def quantize(
    data: bytes, model: Any, stored: Mapping[str, Stored], activations: Activations, options: WriteOptions
) -> bytes:
    """The file with its planned kernels (by tensor name) and, in static mode, its activations as integers.

    Operators with a kernel that the plan does not name stay in float, as do those in loops in static mode.
    """
    from ai_edge_quantizer import quantizer as library

    with backend.silenced(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the memory that keeping all tensors takes
        worker = library.Quantizer(bytearray(data))
        ranges = {name: {"min": -reach, "max": reach} for name, reach in _reaches(model, stored) if reach is not None}
        if activations.mode == "static":
            ranges.update(_activation_ranges(data, model, activations, options))
        _set_recipe(worker, model, stored, activations)
        result = worker.quantize(ranges or None, enable_progress_report=False, enable_progress_bar=False)
    return bytes(result.quantized_model)


def _activation_ranges(
    data: bytes, model: Any, activations: Activations, options: WriteOptions
) -> dict[str, dict[str, NDArray[Any]]]:
    """Tensor name to minimum and maximum, as arrays of as many dimensions as the tensor."""
    assert options.calibration is not None  # the pass declares that it needs it
    graph = model.subgraphs[0]
    used = {int(index) for operator in graph.operators for index in operator.inputs} | set(map(int, graph.outputs))
    tensors = [graph.tensors[index] for index in used if index >= 0]  # what no operator reads is never filled in
    wanted = {tensor.name.decode() for tensor in tensors if not is_float_constant(model, tensor)}
    dimensions: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "float.tflite")
        path.write_bytes(data)
        runner = LiteRTRunner(path, all_tensors=True)

        def run(x: Tensors) -> Iterator[tuple[str, NDArray[Any]]]:
            runner(x)
            for name, values in runner.tensors():
                if name in wanted:
                    dimensions[name] = values.ndim
                    yield name, values

        measured = measure_ranges(options.calibration, activations, run, runner.inputs)
    return {
        name: {"min": np.full((1,) * dimensions[name], low), "max": np.full((1,) * dimensions[name], high)}
        for name, (low, high) in measured.items()
    }


def _kernel(graph: Any, operator: Any, kind: str) -> Any | None:
    """The tensor at the place of the operator's kernel, constant or not."""
    place = 1 if kind in CHANNELS else OTHERS.get(kind)
    if place is None or len(operator.inputs) <= place or operator.inputs[place] < 0:
        return None
    return graph.tensors[operator.inputs[place]]


def _bits(kind: str, stored: Stored) -> int:
    """Bits of the type that holds a kernel: the smallest that LiteRT runs for this operator."""
    return 4 if stored.bits <= 4 and kind in FOUR_BITS else 8


def _reach(tensor: Any, kind: str, stored: Stored | None) -> NDArray[Any] | None:
    """±what the quantizer must see for the kernel's planned scales; None where it could not arrive at them."""
    axis = CHANNELS.get(kind)
    if stored is None or stored.levels is None or axis is None or stored.axis not in (None, axis):
        return None
    shape = tuple(int(size) for size in tensor.shape)
    scale = np.broadcast_to(stored.scale, (shape[axis],))
    return affine.along(scale * affine.largest_level(_bits(kind, stored)), (axis,), shape)


def _reaches(model: Any, stored: Mapping[str, Stored]) -> Iterator[tuple[str, NDArray[Any] | None]]:
    for graph, operator, kind in operators(model):
        tensor = _kernel(graph, operator, kind)
        if tensor is not None:
            name = tensor.name.decode()
            yield name, _reach(tensor, kind, stored.get(name))


def _set_recipe(worker: Any, model: Any, stored: Mapping[str, Stored], activations: Activations) -> None:
    """One setting for all operators, others for those whose kernel has fewer bits, none for those to leave in float."""
    from ai_edge_quantizer import qtyping

    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    static = activations.mode == "static"

    def configure(regex: str, operation: Any, bits: int) -> None:
        if static:
            worker.add_static_config(regex, operation, activations.bits, bits)
        else:
            worker.add_dynamic_config(regex, operation, bits)

    configure(".*", everything, 8)
    special: dict[str, list[str]] = defaultdict(list)
    for graph, operator, kind in operators(model):
        scope = _scope(graph, operator.outputs)
        tensor = _kernel(graph, operator, kind)
        constant = tensor is not None and is_float_constant(model, tensor)
        entry = stored.get(tensor.name.decode()) if constant and tensor is not None else None
        if (static and graph is not model.subgraphs[0]) or (constant and _reach(tensor, kind, entry) is None):
            special[""].append(scope)
        elif entry is not None and _bits(kind, entry) == 4:
            special[kind].append(scope)
    for graph in model.subgraphs[1:] if static else ():
        special[""] += [_scope(graph, indices) for indices in (graph.inputs, graph.outputs)]
    for kind, scopes in special.items():
        regex = f"^(?:{'|'.join(scopes)})$"
        if kind:
            configure(regex, qtyping.TFLOperationName(kind), 4)
        else:
            worker.update_quantization_recipe(regex, everything, None, "no_quantize")
    if static and activations.io == "float":
        for edge in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            worker.update_quantization_recipe(".*", edge, None, "no_quantize")


def _scope(graph: Any, outputs: Any) -> str:
    """A pattern for the name by which the quantizer looks up an operator: those of what it computes."""
    return re.escape(";".join(graph.tensors[index].name.decode() for index in outputs) + ";")
