"""The `.onnx` protobuf: converted by tf2onnx, then edited and checked; run by ONNX Runtime.

The edit gives outputs the model's own names and stores each planned weight in its format: a float16 weight becomes a
float16 initializer behind a Cast, whole numbers become int8 or packed int4 behind a Cast and a Mul, all of which ONNX
Runtime folds when it loads the file. (It turns DequantizeLinear before MatMul into its own MatMulNBits, which rounds
activations to 8 bits, which is not the function that was asked for.) Standard operators only.
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import backend
from kcompress.errors import ModelError, UnsafeError
from kcompress.formats import _onnx_order, _safety, _tensorflow
from kcompress.formats._plan import Stored, match_plan
from kcompress.formats.base import Description, Format, Row, Runner, Tensors, WriteOptions, Written, cast_inputs
from kcompress.graph.signature import signature
from kcompress.layers.plan import QuantPlan
from kcompress.numerics import affine
from kcompress.numerics.packing import pack_levels

OPSET = 18
OPSET_OF_INT4, IR_OF_INT4 = 21, 10  # the first with 4-bit tensors
TYPES = {"float": "float32", "double": "float64", "float16": "float16"}


class ONNX(Format):
    suffixes = (".onnx",)
    extra = "tensorflow"
    modules = ("onnx", "onnxruntime")
    writes = True

    def write(self, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
        self.require(f"writing {path.name}")
        if not _tensorflow.on_tensorflow():
            return _tensorflow.in_child(self.name, model, plan, path, options)
        import onnx

        sign = signature(model)
        proto = _convert(model, path, options.batch)
        _replace_erfc(proto)
        _rename(proto, list(sign.inputs), list(sign.outputs))
        tensors = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer} if plan else {}
        found, missing = match_plan(model, plan, tensors)
        _store(proto, found)
        _onnx_order.settle(proto.graph)
        onnx.checker.check_model(proto)
        onnx.save(proto, path)
        return Written(missing)

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        self.require(f"running {path.name}")
        _load(path)
        return ORTRunner(path)

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        self.require(f"reading {path.name}")
        proto = _load(path)
        return _describe(self.name, proto, runner or ORTRunner(path))


def _convert(model: Any, path: Path, batch: int | None) -> Any:
    """The model as ONNX, straight from its frozen TensorFlow graph.

    Keras's own export leaves calls to compiled functions in the graph where a convolution has groups.
    """
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    with warnings.catch_warnings(), backend.silenced():
        warnings.simplefilter("ignore")  # np.object in Keras's patch of tf2onnx for NumPy 2
        patch_tf2onnx()
        from tf2onnx import convert, logging

        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        try:
            frozen = _tensorflow.frozen_graph(model, batch)
            proto, _ = convert.from_graph_def(
                frozen.definition,
                input_names=[t.name for t in frozen.inputs],
                output_names=[t.name for t in frozen.outputs],
                opset=OPSET,
            )
        except Exception as error:
            raise _tensorflow.explain_failure(path, error, lambda text: []) from error
    return proto


class ORTRunner:
    """An `.onnx` file in ONNX Runtime on the CPU, with its default optimizations and threads."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(
                f"{path}: ONNX Runtime cannot load it ({_safety.one_line(error)}); export it again"
            ) from error
        self.inputs = {
            i.name: tuple(size if isinstance(size, int) else None for size in i.shape)
            for i in self._session.get_inputs()
        }
        self.outputs = tuple(o.name for o in self._session.get_outputs())
        self._dtypes = {i.name: _dtype(i.type) for i in self._session.get_inputs()}

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        return [np.asarray(o) for o in self._session.run(None, cast_inputs(x, self._dtypes))]


def _dtype(kind: str) -> str:
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return TYPES.get(inner, inner)


def _load(path: Path) -> Any:
    """Parse the file without following references to other files; refuse those that lead out of its folder."""
    import onnx

    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ModelError(f"{path}: not an ONNX model ({_safety.one_line(error)}); export it again") from error
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
            dims[0].dim_param = _onnx_order.BATCH


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


def _store(proto: Any, initializers: Mapping[str, Stored]) -> None:
    """Store these float32 initializers as given, each behind the operator that turns it back, at the graph's head."""
    import onnx

    heads = []
    for tensor in list(proto.graph.initializer):
        if tensor.name not in initializers:
            continue
        name, stored = tensor.name, initializers[tensor.name]
        if stored.levels is None:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}_float16"))
            heads.append(onnx.helper.make_node("Cast", [f"{name}_float16"], [name], to=onnx.TensorProto.FLOAT))
            continue
        kind = onnx.TensorProto.INT4 if stored.bits <= 4 else onnx.TensorProto.INT8
        if kind == onnx.TensorProto.INT4:
            _raise_opset(proto, OPSET_OF_INT4)
        data = pack_levels(stored.levels, 4 if stored.bits <= 4 else 8).tobytes()
        tensor.CopyFrom(onnx.helper.make_tensor(f"{name}_int", kind, stored.levels.shape, data, raw=True))
        axes = () if stored.axis is None else (stored.axis,)
        scale = affine.along(stored.scale, axes, stored.levels.shape)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}_scale"))
        heads += [
            onnx.helper.make_node("Cast", [f"{name}_int"], [f"{name}_level"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Mul", [f"{name}_level", f"{name}_scale"], [name]),
        ]
    rest = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*heads, *rest])


def _raise_opset(proto: Any, version: int) -> None:
    """Declare a newer version of the standard operators; those that tf2onnx writes mean the same in it."""
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = max(entry.version, version)
    proto.ir_version = max(proto.ir_version, IR_OF_INT4)


def _describe(form: str, proto: Any, runner: Runner) -> Description:
    import onnx

    tensors = [*proto.graph.initializer]
    tensors += [
        a.t for node in proto.graph.node if node.op_type == "Constant" for a in node.attribute if a.HasField("t")
    ]
    weights: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    stored = 0
    for tensor in tensors:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        if kind in ("INT64", "INT32", "BOOL", "STRING") or tensor.external_data:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        weights[kind] += values.size
        alive[kind] += int(np.count_nonzero(values))
        stored += len(tensor.raw_data) or values.nbytes
    operators = Counter(node.op_type for node in proto.graph.node)
    rows = [Row(f"{kind} weights", "tensors", "", weights[kind], alive[kind]) for kind in sorted(weights)]
    rows += [Row(name, f"{count} operators", "", 0, 0) for name, count in sorted(operators.items())]
    return Description(form, runner.inputs, runner.outputs, weights.total(), alive.total(), stored, tuple(rows))
