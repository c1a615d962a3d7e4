"""Run `.onnx` models in ONNX Runtime on the CPU, with floats in and out whatever the file's own types are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import ModelError, UnsupportedError, one_line
from kcompress.files import in_utf8
from kcompress.formats.base import Tensors
from kcompress.formats.integer_io import Edge, to_float, to_type
from kcompress.leftovers import temporary_folder

SILENT = 4  # errors are raised as well; the runtime need not print them
TYPES = {"float": "float32", "double": "float64", "float16": "float16"}


class ORTRunner:
    """An `.onnx` model, a path or the bytes of a file, with ONNX Runtime's default optimizations and threads."""

    def __init__(self, model: Path | bytes, edges: Mapping[str, Edge] | None = None) -> None:
        import onnxruntime

        self._name = str(model) if isinstance(model, Path) else "model"
        self._options = onnxruntime.RunOptions()
        self._options.log_severity_level = SILENT
        try:
            self._session = _session(model)
        except Exception as error:  # ONNX Runtime's own have no common class
            raise ModelError(
                f"{self._name}: ONNX Runtime cannot load it ({one_line(error)}); export it again"
            ) from error
        self.inputs = {
            i.name: tuple(size if isinstance(size, int) else None for size in i.shape)
            for i in self._session.get_inputs()
        }
        self.outputs = tuple(o.name for o in self._session.get_outputs())
        self._dtypes = {i.name: _dtype(i.type) for i in self._session.get_inputs()}
        self._edges = edges or {}

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        inputs = {name: to_type(x[name], dtype, self._edges.get(name)) for name, dtype in self._dtypes.items()}
        try:
            values = self._session.run(None, inputs, self._options)
        except Exception as error:  # as in `__init__`
            raise ModelError(
                f"{self._name}: ONNX Runtime cannot run it ({one_line(error)}); export it again"
            ) from error
        outputs = zip(self.outputs, values, strict=True)
        return [to_float(np.asarray(values), self._edges.get(name)) for name, values in outputs]


def _session(model: Path | bytes, **settings: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    for name, value in settings.items():
        setattr(options, name, value)
    if isinstance(model, bytes):
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with in_utf8(model) as path:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def optimized(proto: Any, extended: bool) -> Any:
    """The model as ONNX Runtime rewrites it: in standard operators only, or in `extended` ones of its own too."""
    import onnx
    from onnxruntime import GraphOptimizationLevel as Level

    level = Level.ORT_ENABLE_EXTENDED if extended else Level.ORT_ENABLE_BASIC
    with temporary_folder() as folder:
        path = Path(folder, "model.onnx")
        try:
            _session(proto.SerializeToString(), graph_optimization_level=level, optimized_model_filepath=str(path))
        except Exception as error:  # as above
            raise UnsupportedError(
                f"ONNX Runtime cannot run this model ({one_line(error)}); leave activations in float, or give "
                "another output format"
            ) from error
        return onnx.load(path)


def edges(proto: Any) -> dict[str, Edge]:
    """By name, the inputs and outputs that are integers in place of floats; the operator behind them tells which."""
    import onnx

    graph = proto.graph
    constants = {t.name: t for t in graph.initializer if not t.dims}
    names = {value.name for value in (*graph.input, *graph.output)}
    found = {}
    for node in graph.node:
        edge = {"DequantizeLinear": node.input, "QuantizeLinear": node.output}.get(node.op_type, [""])[0]
        if edge in names and all(name in constants for name in node.input[1:3] if name):
            scale, *zero = (onnx.numpy_helper.to_array(constants[name]) for name in node.input[1:3] if name)
            found[edge] = float(scale), int(zero[0]) if zero else 0
    return found


def _dtype(kind: str) -> str:
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return TYPES.get(inner, inner)
