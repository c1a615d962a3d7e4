"""A SavedModel folder of TensorFlow: inspected, run and measured; it holds a graph without layers, so no pass can work.

A graph can read and write files when it runs. So its operators are looked at before it is loaded.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import backend
from kcompress.errors import ModelError, UnsafeError, UnsupportedError, one_line, shortened
from kcompress.files import check_file
from kcompress.formats.base import Description, Format, Row, Runner, Tensors, reading
from kcompress.formats.batches import cast_inputs
from kcompress.formats.savedmodel.operators import COMPUTE, SAVING, SAVING_FUNCTIONS

TRUST = "tensorflow"
MOST_BYTES = 2_000_000_000  # as many as protobuf reads
SIGNATURE = "serving_default"


class SavedModel(Format):
    extra = "tensorflow"
    modules = ("tensorflow",)

    def read(self, path: Path, trust: Sequence[str] = ()) -> Any:
        raise UnsupportedError(
            f"{path}: a SavedModel holds a graph without layers: it can be inspected, measured and compared, but not "
            "compressed; give the .keras or .h5 file that it was exported from"
        )

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        self.require(f"running {path.name}")
        _check(path, trust)
        return SavedModelRunner(path)

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        self.require(f"reading {path.name}")
        operators = _check(path, trust)
        opened = runner if isinstance(runner, SavedModelRunner) else SavedModelRunner(path)
        weights = [np.asarray(v) for v in opened.variables if v.dtype.is_floating]
        rows = [Row("variables", "tensors", "", sum(w.size for w in weights), sum(map(np.count_nonzero, weights)))]
        rows += [Row(name, f"{count} operators", "", 0, 0) for name, count in sorted(operators.items())]
        return Description(
            self.name,
            opened.inputs,
            opened.outputs,
            parameters=rows[0].parameters,
            nonzero=int(rows[0].nonzero),
            weight_bytes=sum(w.nbytes for w in weights),
            rows=tuple(rows),
        )


class SavedModelRunner:
    """The `serving_default` signature, or the only one, as a Runner."""

    def __init__(self, path: Path) -> None:
        with backend.silenced():
            import tensorflow as tf

            try:
                self._loaded = tf.saved_model.load(str(path))
            except Exception as error:  # of TensorFlow, h5py or the file system
                raise ModelError(f"{path}: cannot be loaded ({one_line(error)}); export it again") from error
        signatures = self._loaded.signatures
        name = SIGNATURE if SIGNATURE in signatures else next(iter(signatures), None)
        if name is None:
            raise ModelError(f"{path}: has no signature to run; export it with model.export")
        self._call = signatures[name]
        specs = self._call.structured_input_signature[1]
        self.inputs = {key: tuple(spec.shape) for key, spec in specs.items()}
        self.outputs = tuple(self._call.structured_outputs)
        self._dtypes = {key: spec.dtype.as_numpy_dtype for key, spec in specs.items()}
        self.variables = list(self._call.variables)

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        import tensorflow as tf

        tensors = {name: tf.constant(value) for name, value in cast_inputs(x, self._dtypes).items()}
        return [value.numpy() for value in self._call(**tensors).values()]


def _check(path: Path, trust: Sequence[str]) -> Counter[str]:
    """Count the operators of all graphs without loading them; UnsafeError for one that does more than compute.

    Saving and restoring is let through where every SavedModel has it: outside of its functions, which TensorFlow 2 does
    not run, and in two functions that nothing else calls.
    """
    with backend.silenced():
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as Proto

    proto = Proto()
    file = path / "saved_model.pb"
    check_file(file, ModelError, "export it again", MOST_BYTES)
    with reading(path):
        proto.ParseFromString(file.read_bytes())
    operators: Counter[str] = Counter()
    for meta in proto.meta_graphs:
        second, functions = meta.HasField("object_graph_def"), meta.graph_def.library.function
        called = {name for function in functions for name in _called(function.node_def)}
        called |= set(meta.object_graph_def.concrete_functions)  # which loading and running call by name
        allowed = COMPUTE | {function.signature.name for function in functions}
        for function, operator in _operators(meta.graph_def):
            saves = operator in SAVING and (second if not function else _only_saves(function, called))
            if TRUST not in trust and operator not in allowed and not saves:
                raise UnsafeError(
                    f"{path}: its graph has the operator {shortened(operator)}, none of those that only compute; "
                    f"pass --trust {TRUST} if the model is yours"
                )
            if operator not in SAVING:
                operators[operator] += 1
    return operators


def _only_saves(function: str, called: set[str]) -> bool:
    return function.startswith(SAVING_FUNCTIONS) and function not in called


def _operators(graph: Any) -> Iterator[tuple[str, str]]:
    """The function, "" for none, and the operator of every node."""
    for node in graph.node:
        yield "", node.op
    for function in graph.library.function:
        for node in function.node_def:
            yield function.signature.name, node.op


def _called(nodes: Any) -> Iterator[str]:
    """The functions that nodes name in their settings, or call as operators."""
    for node in nodes:
        yield node.op
        for value in node.attr.values():
            yield value.func.name
            yield from (function.name for function in value.list.func)
