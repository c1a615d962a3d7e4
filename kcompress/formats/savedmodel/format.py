"""A SavedModel folder of TensorFlow: inspected, run and measured; it holds a graph without layers, so no pass can work.

A graph can read and write files when it runs. So its operators are looked at before anything is loaded, it is
described without being loaded, and it runs in a process of its own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress import backend
from kcompress.errors import ModelError, UnsupportedError
from kcompress.files import check_file, in_utf8
from kcompress.formats.base import Description, Format, Row, Runner, reading
from kcompress.formats.safety import check_size
from kcompress.formats.savedmodel.graph import FILE, Graph, graph_of, paths_of
from kcompress.formats.savedmodel.process import SavedModelRunner

CHECKPOINT = Path("variables", "variables")
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


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
        graph = graph_of(path, trust)
        _check_files(path)
        return SavedModelRunner(path, graph)

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        self.require(f"reading {path.name}")
        graph = graph_of(path, trust)
        parameters = nonzero = weight_bytes = 0
        for weight in _weights(path, graph):
            parameters += weight.size
            nonzero += int(np.count_nonzero(weight))
            weight_bytes += weight.nbytes
        rows = [Row("variables", "tensors", "", parameters, nonzero)]
        rows += [Row(name, f"{count} operators", "", 0, 0) for name, count in sorted(graph.operators.items())]
        return Description(
            self.name,
            graph.inputs,
            graph.outputs,
            parameters=parameters,
            nonzero=nonzero,
            weight_bytes=weight_bytes,
            rows=tuple(rows),
        )


def _check_files(path: Path) -> list[Path]:
    """The files that hold variables; ModelError for what is no file."""
    found = sorted(path.joinpath(CHECKPOINT.parent).iterdir()) if path.joinpath(CHECKPOINT.parent).is_dir() else []
    for each in found:
        check_file(each, ModelError, "export it again")
    return found


def _weights(path: Path, graph: Graph) -> Iterator[NDArray[Any]]:
    """The values of the signature's float variables, one at a time, from the checkpoint."""
    stored = sum(file.stat().st_size for file in _check_files(path) if ".data-" in file.name)
    described = path.joinpath(FILE).stat().st_size
    if not graph.variables:
        check_size(path, 0, described)
        return
    with in_utf8(path) as plain, reading(path):
        with backend.silenced():
            import tensorflow as tf

            reader = tf.train.load_checkpoint(str(plain / CHECKPOINT))
        shapes, kinds = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        names = _names(reader, graph)
        needed = sum(int(np.prod(shapes[name], dtype=object)) * kinds[name].size for name in names)
        if needed > stored:
            raise ModelError(f"{path}: its variables take {needed:,} bytes, its files have {stored:,}; export it again")
        check_size(path, stored, needed + described)
        for name in names:
            if kinds[name].is_floating:
                with backend.silenced():
                    weight = np.asarray(reader.get_tensor(name))
                yield weight


def _names(reader: Any, graph: Graph) -> list[str]:
    """What the checkpoint calls the variables."""
    if not reader.has_tensor(OBJECTS):
        return sorted(name for (name,) in graph.variables)
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    objects = TrackableObjectGraph.FromString(reader.get_tensor(OBJECTS)).nodes
    return sorted(objects[paths_of(objects)[path]].attributes[0].checkpoint_key for path in graph.variables)
