"""Run a `.tflite` file in LiteRT, with floats in and out whatever the file's own types are."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import backend
from kcompress.errors import ModelError, one_line
from kcompress.files import in_utf8
from kcompress.formats.base import Tensors
from kcompress.formats.integer_io import Edge, to_float, to_type
from kcompress.formats.tflite.flatbuffer import signature_names


class LiteRTRunner:
    """A `.tflite` file in LiteRT's interpreter, with its default kernels and threads.

    With `all_tensors` it runs plain kernels instead and keeps what each of them computed, for `tensors`.
    """

    def __init__(self, path: Path, all_tensors: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._path = path
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if all_tensors else OpResolverType.AUTO
        try:
            with backend.silenced(), in_utf8(path) as plain:
                self._interpreter = Interpreter(
                    model_path=str(plain),
                    experimental_preserve_all_tensors=all_tensors,
                    experimental_op_resolver_type=resolver,
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: LiteRT cannot load it ({one_line(error)}); convert it again") from error
        inputs, self._outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        names = signature_names(path.read_bytes())
        self._inputs = {names.get(d["index"], d["name"]): d for d in inputs}
        self.inputs = {
            name: tuple(None if size < 0 else int(size) for size in _shape(d)) for name, d in self._inputs.items()
        }
        self.outputs = tuple(names.get(d["index"], d["name"]) for d in self._outputs)

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        values = {name: to_type(x[name], details["dtype"], _edge(details)) for name, details in self._inputs.items()}
        try:
            self._run(values)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self._path}: LiteRT cannot run it ({one_line(error)}); convert it again") from error
        return [to_float(self._interpreter.get_tensor(d["index"]), _edge(d)) for d in self._outputs]

    def _run(self, values: Tensors) -> None:
        current = {d["index"]: tuple(d["shape"]) for d in self._interpreter.get_input_details()}
        if any(current[self._inputs[name]["index"]] != value.shape for name, value in values.items()):
            for name, value in values.items():
                self._interpreter.resize_tensor_input(self._inputs[name]["index"], value.shape)
            self._interpreter.allocate_tensors()
        for name, value in values.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], value)
        self._interpreter.invoke()

    def tensors(self, names: Collection[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Name and values of these float32 tensors of the last call, those that LiteRT keeps no values of left out."""
        for details in self._interpreter.get_tensor_details():
            if details["dtype"] == np.float32 and details["name"] in names:
                try:
                    yield details["name"], self._interpreter.get_tensor(details["index"])
                except ValueError:  # needed only while the interpreter prepared itself
                    continue


def _shape(details: Any) -> Any:
    signature_shape = details["shape_signature"]
    return signature_shape if len(signature_shape) else details["shape"]


def _edge(details: Any) -> Edge | None:
    scale, zero = details["quantization"]
    return (float(scale), int(zero)) if scale else None
