"""The `.onnx` protobuf: converted by tf2onnx, then edited and checked; run by ONNX Runtime.

The edit gives inputs and outputs the model's own names and stores each planned weight in its format, behind operators
that ONNX Runtime folds when it loads the file. Where activations are to be integers, the graph is rewritten so that the
runtime makes integer operators of it, and what it computes in floats all the same is named. Standard operators only.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kcompress import backend
from kcompress.errors import UnsafeError
from kcompress.formats.base import Description, Format, Runner, WriteOptions, Written, reading
from kcompress.formats.frozen_graph import explain_failure, frozen_graph
from kcompress.formats.onnx.description import describe
from kcompress.formats.onnx.graph import constant, replace
from kcompress.formats.onnx.integers import float_operators, integer_inputs, quantize_activations
from kcompress.formats.onnx.order import BATCH, settle
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
    makers = ("tensorflow", "tf2onnx", "onnx_ir")
    activations = frozenset({("static", 8), ("dynamic", 8)})
    integer_edges = True
    most_bytes = 2_147_483_647  # as many as protobuf reads
    writes = True

    def write(self, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
        self.require(f"writing {path.name}", writing=True)
        if not on_tensorflow():
            return in_child(self.name, model, plan, path, options)
        import onnx
        import onnx_ir as ir

        sign = signature(model)
        converted = ir.from_proto(_convert(model, path, options.batch))
        _replace_erfc(converted.graph)
        _rename(converted.graph, list(sign.inputs), list(sign.outputs))
        if plan.activations is not None:
            converted = prepared(converted)
        tensors = {name: t.numpy() for name, t in converted.graph.initializers.tensor_items()} if plan else {}
        found, missing = match_plan(model, plan, tensors)
        if plan.activations is None:
            store(converted, found)
            settle(converted.graph)
            written = Written(missing)
        else:
            written = _write_integers(converted, found, missing, plan.activations, options)
        proto = ir.to_proto(converted)
        onnx.checker.check_model(proto)
        onnx.save(proto, path)
        return written

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        self.require(f"running {path.name}")
        with reading(path):
            return ORTRunner(path, edges(_load(path)))

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        self.require(f"reading {path.name}")
        with reading(path):
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
        except Exception as error:  # of TensorFlow and tf2onnx, which have no common one
            raise explain_failure(path, error, lambda text: []) from error
    return proto


def _write_integers(
    model: Any,
    found: Mapping[str, StoredTensor],
    missing: tuple[str, ...],
    activations: Activations,
    options: WriteOptions,
) -> Written:
    """Make the graph compute in integers; what the runtime computes with in floats all the same is in the result."""
    import onnx_ir as ir

    codes = quantize_activations(model, found, activations, options)
    read = {name for name in found if model.graph.initializers[name].uses()}
    store(model, {name: stored for name, stored in found.items() if name in read})
    settle(model.graph)
    result = optimized(ir.to_proto(model), extended=True)
    used = integer_inputs(result)
    whole = {name: stored for name, stored in found.items() if stored.levels is not None}
    made = {name: {value.name for value in values} for name, values in codes.items()}
    left = [s.weights for name, s in whole.items() if name in read or not made.get(name, set()) <= used]
    names = tuple(sorted({*missing, *(name for names in left for name in names)}))
    floats = float_operators(result) if activations.mode == "static" else {}
    return Written(names, float_operators=dict(floats))


def _load(path: Path) -> Any:
    """Parse the file without following references to other files; refuse those that lead out of its folder."""
    import onnx

    proto = onnx.load(path, load_external_data=False)
    for tensor in _tensors(proto):
        for entry in tensor.external_data:
            place = Path(entry.value) if entry.key == "location" else None
            if place and (place.is_absolute() or ".." in place.parts):
                raise UnsafeError(f"{path}: weight '{tensor.name}' lies outside the folder, at {place}; move it beside")
    return proto


def _tensors(message: Any) -> Iterator[Any]:
    """All tensors in a message: also those in attributes of nodes, in subgraphs, functions and sparse tensors."""
    waiting = [message]
    while waiting:
        message = waiting.pop()
        if message.DESCRIPTOR.name == "TensorProto":
            yield message
            continue
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting += [value] if hasattr(value, "ListFields") else value


def _rename(graph: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give the graph's inputs and outputs the model's names, in order, and an unknown batch the name `batch`."""
    import onnx_ir as ir

    names = [*inputs, *outputs]
    if len(set(names)) < len(names):
        names = [*inputs, *(f"{name}_output" for name in outputs)]
    for name, value in ir.convenience.create_value_mapping(graph).items():
        if name in names:
            value.name = f"{name}|renamed"  # no converter gives such a name
    for value, name in zip((*graph.inputs, *graph.outputs), names, strict=True):
        value.name = name
        if value.shape and not isinstance(value.shape[0], int):
            value.shape = ir.Shape([BATCH, *value.shape[1:]])


def _replace_erfc(graph: Any) -> None:
    """Write erfc(x), which is no ONNX operator but which tf2onnx lets through for gelu, as 1 - erf(x)."""
    import onnx_ir as ir

    tape = ir.tape.Tape(graph)
    for node in list(graph):
        if node.op_type == "Erfc":
            one = constant(graph, "erfc_one", np.array(1, np.float32))
            replace(node, tape.op("Sub", [one, tape.op("Erf", node.inputs)]))
    graph.sort()
