"""Integer arithmetic in a `.tflite` file, by `ai-edge-quantizer`, on grids and ranges that are given.

The quantizer derives a tensor's scale from its minimum and maximum. Given ±127 · s for a weight, it arrives at the
scale s of the plan; given the ranges measured here for activations, it needs no calibration of its own. Where it could
not keep a planned grid it is told to leave the operator in float. All kernels are of 8 bits to it; those whose levels
need fewer are packed afterwards.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import backend
from kcompress.formats.activation_ranges import measure_ranges
from kcompress.formats.base import Tensors, WriteOptions
from kcompress.formats.stored_tensors import StoredTensor
from kcompress.formats.tflite.edits import multiply_for_neg, narrow, take_shapes_of_integers
from kcompress.formats.tflite.flatbuffer import is_float_constant, operators, pack, unpack
from kcompress.formats.tflite.runner import LiteRTRunner
from kcompress.leftovers import temporary_folder
from kcompress.numerics import affine
from kcompress.quantization.plan import Activations

CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
"""Operators whose kernel, their second input, LiteRT takes as integers with a scale per channel: the axis of those."""
OTHERS = {"CONV_3D": 1, "CONV_3D_TRANSPOSE": 1, "BATCH_MATMUL": 1, "EMBEDDING_LOOKUP": 1, "GATHER": 0}
"""Operators with a kernel that it does not, or with other scales: at which of their inputs it is."""
BITS = 8
LEAST_BITS = {
    ("static", 8): {"FULLY_CONNECTED": 2, "CONV_2D": 4, "DEPTHWISE_CONV_2D": 4},
    ("static", 16): {"FULLY_CONNECTED": 2, "CONV_2D": 4},
    ("dynamic", 8): {"FULLY_CONNECTED": 2, "CONV_2D": 4},
}
"""Mode and bits of activations to the fewest bits of a kernel with which LiteRT 2.3 runs an operator; 8 for others.

Found by trying. It refuses fewer, or computes something else: a 2-bit CONV_2D in dynamic mode, a 4-bit
DEPTHWISE_CONV_2D with 16-bit activations.
"""


def quantize_activations(
    model: Any, stored: Mapping[str, StoredTensor], activations: Activations, options: WriteOptions
) -> Any:
    """The flatbuffer with its planned kernels (by tensor name) and, in static mode, its activations as integers.

    Operators with a kernel that the plan does not name stay in float, as do those in loops in static mode.
    """
    from ai_edge_quantizer import quantizer as library

    if activations.mode == "static":
        multiply_for_neg(model)
    data = pack(model)
    with backend.silenced(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the memory that keeping all tensors takes
        worker = library.Quantizer(bytearray(data))
        ranges = {name: {"min": -reach, "max": reach} for name, reach in _reaches(model, stored) if reach is not None}
        if activations.mode == "static":
            ranges.update(_activation_ranges(data, model, activations, options))
        _set_recipe(worker, model, stored, activations)
        result = worker.quantize(ranges or None, enable_progress_report=False, enable_progress_bar=False)
    integer = unpack(bytes(result.quantized_model))
    take_shapes_of_integers(integer)
    narrow(integer, LEAST_BITS[activations.mode, activations.bits])
    return integer


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
    with temporary_folder() as folder:
        path = Path(folder, "float.tflite")
        path.write_bytes(data)
        runner = LiteRTRunner(path, all_tensors=True)

        def run(x: Tensors) -> Iterator[tuple[str, NDArray[Any]]]:
            runner(x)
            for name, values in runner.tensors(wanted):
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


def _reach(tensor: Any, kind: str, stored: StoredTensor | None) -> NDArray[Any] | None:
    """±what the quantizer must see for the kernel's planned scales; None where it could not arrive at them."""
    axis = CHANNELS.get(kind)
    if stored is None or stored.levels is None or axis is None or stored.axis not in (None, axis):
        return None
    shape = tuple(int(size) for size in tensor.shape)
    scale = np.broadcast_to(stored.scale, (shape[axis],))
    return affine.along(scale * affine.largest_level(BITS), (axis,), shape)


def _reaches(model: Any, stored: Mapping[str, StoredTensor]) -> Iterator[tuple[str, NDArray[Any] | None]]:
    for graph, operator, kind in operators(model):
        tensor = _kernel(graph, operator, kind)
        if tensor is not None:
            name = tensor.name.decode()
            yield name, _reach(tensor, kind, stored.get(name))


def _set_recipe(worker: Any, model: Any, stored: Mapping[str, StoredTensor], activations: Activations) -> None:
    """One setting for all operators, none for those to leave in float."""
    from ai_edge_quantizer import qtyping

    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    static = activations.mode == "static"
    if static:
        worker.add_static_config(".*", everything, activations.bits, BITS)
    else:
        worker.add_dynamic_config(".*", everything, BITS)
    left = []
    for graph, operator, kind in operators(model):
        tensor = _kernel(graph, operator, kind)
        planned = tensor is None or not is_float_constant(model, tensor)
        if tensor is not None and not planned:
            planned = _reach(tensor, kind, stored.get(tensor.name.decode())) is not None
        if not planned or (static and graph is not model.subgraphs[0]):
            left.append(_scope(graph, operator.outputs))
    for graph in model.subgraphs[1:] if static else ():
        left += [_scope(graph, indices) for indices in (graph.inputs, graph.outputs)]
    if left:
        worker.update_quantization_recipe(f"^(?:{'|'.join(left)})$", everything, None, "no_quantize")
    if static and activations.io == "float":
        for edge in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            worker.update_quantization_recipe(".*", edge, None, "no_quantize")


def _scope(graph: Any, outputs: Any) -> str:
    """A pattern for the name by which the quantizer looks up an operator: those of what it computes."""
    return re.escape(";".join(graph.tensors[index].name.decode() for index in outputs) + ";")
