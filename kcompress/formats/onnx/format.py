"""The `.onnx` protobuf: converted by tf2onnx, then edited and checked; run by ONNX Runtime.

The edit gives inputs and outputs the model's own names and stores each planned weight in its format, behind operators
that ONNX Runtime folds when it loads the file. Where activations are to be integers, the graph is rewritten so that the
runtime makes integer operators of it, and what it computes in floats all the same is named. Standard operators only.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kcompress import backend
from kcompress.errors import ModelError, UnsafeError, one_line
from kcompress.formats.base import Description, Format, Runner, WriteOptions, Written
from kcompress.formats.frozen_graph import explain_failure, frozen_graph
from kcompress.formats.onnx.description import describe
from kcompress.formats.onnx.integers import float_operators, integer_inputs, quantize_activations
from kcompress.formats.onnx.order import BATCH, reads, settle
from kcompress.formats.onnx.prepare import prepared
from kcompress.formats.onnx.runner import ORTRunner, edges, optimized
from kcompress.formats.onnx.weights import store
from kcompress.formats.stored_tensors import StoredTensor, match_plan
from kcompress.formats.tensorflow_process import in_child, on_tensorflow
from kcompress.keras_internals import patch_tf2onnx
from kcompress.model.signature import signature
from kcompress.process_state import quiet_logger
from kcompress.quantization.plan import Activations, QuantPlan

OPSET = 18


class ONNX(Format):
    suffixes = (".onnx",)
    extra = "tensorflow"
    modules = ("onnx", "onnxruntime")
    makers = ("tensorflow", "tf2onnx")
    activations = frozenset({("static", 8), ("dynamic", 8)})
    integer_edges = True
    writes = True

    def write(self, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
        self.require(f"writing {path.name}", writing=True)
        if not on_tensorflow():
            return in_child(self.name, model, plan, path, options)
        import onnx

        sign = signature(model)
        proto = _convert(model, path, options.batch)
        _replace_erfc(proto)
        _rename(proto, list(sign.inputs), list(sign.outputs))
        if plan.activations is not None:
            proto = prepared(proto)
        tensors = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer} if plan else {}
        found, missing = match_plan(model, plan, tensors)
        if plan.activations is None:
            store(proto, found)
            written = Written(missing)
        else:
            written = _write_integers(proto, found, missing, plan.activations, options)
        settle(proto.graph)
        onnx.checker.check_model(proto)
        onnx.save(proto, path)
        return written

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        self.require(f"running {path.name}")
        return ORTRunner(path, edges(_load(path)))

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        self.require(f"reading {path.name}")
        proto = _load(path)
        return describe(self.name, proto, runner or ORTRunner(path))


def _convert(model: Any, path: Path, batch: int | None) -> Any:
    """The model as ONNX, straight from its frozen TensorFlow graph.

    Keras's own export leaves calls to compiled functions in the graph where a convolution has groups.
    """
    with warnings.catch_warnings(), backend.silenced(), quiet_logger("tf2onnx"):
        warnings.simplefilter("ignore")  # np.object in Keras's patch of tf2onnx for NumPy 2
        patch_tf2onnx()
        from tf2onnx import convert

        try:
            frozen = frozen_graph(model, batch)
            proto, _ = convert.from_graph_def(
                frozen.definition,
                input_names=[t.name for t in frozen.inputs],
                output_names=[t.name for t in frozen.outputs],
                opset=OPSET,
            )
        except Exception as error:
            raise explain_failure(path, error, lambda text: []) from error
    return proto


def _write_integers(
    proto: Any,
    found: Mapping[str, StoredTensor],
    missing: tuple[str, ...],
    activations: Activations,
    options: WriteOptions,
) -> Written:
    """Make the graph compute in integers; what the runtime computes with in floats all the same is in the result."""
    codes = quantize_activations(proto, found, activations, options)
    read = {name for node in proto.graph.node for name in reads(node)}
    store(proto, {name: stored for name, stored in found.items() if name in read})
    result = optimized(proto, extended=True)
    used = integer_inputs(result)
    whole = {name: stored for name, stored in found.items() if stored.levels is not None}
    left = [s.weights for name, s in whole.items() if name in read or not codes.get(name, set()) <= used]
    names = tuple(sorted({*missing, *(name for names in left for name in names)}))
    floats = float_operators(result) if activations.mode == "static" else {}
    return Written(names, float_operators=dict(floats))


def _load(path: Path) -> Any:
    """Parse the file without following references to other files; refuse those that lead out of its folder."""
    import onnx

    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ModelError(f"{path}: not an ONNX model ({one_line(error)}); export it again") from error
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            place = Path(entry.value) if entry.key == "location" else None
            if place and (place.is_absolute() or ".." in place.parts):
                raise UnsafeError(f"{path}: weight '{tensor.name}' lies outside the folder, at {place}; move it beside")
    return proto


def _rename(proto: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give the graph's inputs and outputs the model's names, in order, and an unknown batch the name `batch`."""
    graph = proto.graph
    names = dict(zip((v.name for v in graph.output), outputs, strict=True))
    names.update(zip((v.name for v in graph.input), inputs, strict=True))
    taken = {value for node in graph.node for value in (*node.input, *node.output)} - set(names)
    taken |= {tensor.name for tensor in graph.initializer}
    clash = {old: f"{new}_" for old, new in names.items() if new in taken}
    names.update(clash)
    if len(set(names.values())) < len(names):
        names.update({v.name: f"{names[v.name]}_output" for v in graph.output})
    for node in graph.node:
        node.input[:] = [names.get(value, value) for value in node.input]
        node.output[:] = [names.get(value, value) for value in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_param = BATCH


def _replace_erfc(proto: Any) -> None:
    """Write erfc(x), which is no ONNX operator but which tf2onnx lets through for gelu, as 1 - erf(x)."""
    import onnx

    nodes = list(proto.graph.node)
    if not any(node.op_type == "Erfc" for node in nodes):
        return
    one = onnx.numpy_helper.from_array(np.array(1, np.float32), "erfc_one")
    proto.graph.initializer.append(one)
    del proto.graph.node[:]
    for node in nodes:
        if node.op_type == "Erfc":
            inner = f"{node.output[0]}_erf"
            proto.graph.node.append(onnx.helper.make_node("Erf", node.input, [inner], name=f"{node.name}_erf"))
            node = onnx.helper.make_node("Sub", ["erfc_one", inner], node.output, name=f"{node.name}_sub")
        proto.graph.node.append(node)
