"""What a SavedModel's description says of it: operators, inputs, outputs, variables. Nothing of it is loaded or run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompress import backend
from kcompress.errors import ModelError, UnsafeError, shortened
from kcompress.files import check_file
from kcompress.formats.base import reading
from kcompress.formats.savedmodel.operators import COMPUTE, SAVING, SAVING_FUNCTIONS

FILE = "saved_model.pb"
MOST_BYTES = 2_000_000_000  # as many as protobuf reads
SIGNATURE = "serving_default"
TRUST = "tensorflow"
VARIABLES = frozenset(["VarHandleOp", "Variable", "VariableV2"])


@dataclass(frozen=True)
class Graph:
    """A SavedModel's signature `serving_default`, or its only one, and what it needs.

    `variables` are paths in the checkpoint's object graph, names of children from its root; of a file of TensorFlow 1,
    which has no objects, they are the names in the checkpoint.
    """

    signature: str
    inputs: dict[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    operators: Counter[str]
    variables: frozenset[tuple[str, ...]]


def graph_of(path: Path, trust: Sequence[str]) -> Graph:
    """Read the description; UnsafeError for an operator that does more than compute, ModelError for a damaged one."""
    with backend.silenced():
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as Proto

    proto = Proto()
    check_file(path / FILE, ModelError, "export it again", MOST_BYTES)
    with reading(path):
        proto.ParseFromString((path / FILE).read_bytes())
        operators = checked_operators(path, proto, trust)
        found = [(meta, meta.signature_def) for meta in proto.meta_graphs if "serve" in meta.meta_info_def.tags]
        meta, signatures = found[0] if found else (None, {})
        callable_ones = sorted(name for name in signatures if not name.startswith("__"))
        name = SIGNATURE if SIGNATURE in callable_ones else next(iter(callable_ones), None)
        if meta is None or name is None:
            raise ModelError(f"{path}: has no signature to run; export it with model.export")
        signature = signatures[name]
        return Graph(
            name,
            {key: _shape(signature.inputs[key].tensor_shape) for key in sorted(signature.inputs)},
            tuple(sorted(signature.outputs)),
            operators,
            frozenset(_variables(meta, name)),
        )


def checked_operators(path: Path, proto: Any, trust: Sequence[str]) -> Counter[str]:
    """Count the operators of all graphs; UnsafeError for one that does more than compute.

    Saving and restoring is let through where every SavedModel has it: outside of its functions, which TensorFlow 2 does
    not run, and in two functions that nothing else calls.
    """
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


def _shape(shape: Any) -> tuple[int | None, ...]:
    return tuple(None if each.size < 0 else int(each.size) for each in shape.dim)


def _variables(meta: Any, name: str) -> Iterator[tuple[str, ...]]:
    """Where the variables are that a signature's function holds; for TensorFlow 1, those its outputs are made from."""
    objects = meta.object_graph_def.nodes
    if not objects:
        yield from _variables_of_graph(meta.graph_def.node, meta.signature_def[name].outputs.values())
        return
    numbers = paths_of(objects)
    paths = {number: path for path, number in numbers.items()}
    function = objects[numbers["signatures", name]]
    held = meta.object_graph_def.concrete_functions[_concrete(function)].bound_inputs
    yield from (paths[number] for number in held if objects[number].WhichOneof("kind") == "variable")


def _concrete(function: Any) -> str:
    if function.WhichOneof("kind") == "function":
        return str(function.function.concrete_functions[0])
    return str(function.bare_concrete_function.concrete_function_name)


def paths_of(objects: Any) -> dict[tuple[str, ...], int]:
    """The number of each object by a shortest way to it from the root, of names of children."""
    found: dict[tuple[str, ...], int] = {(): 0}
    seen = {0}
    waiting: list[tuple[str, ...]] = [()]
    for path in waiting:
        for child in objects[found[path]].children:
            if child.node_id not in seen:
                seen.add(child.node_id)
                found[*path, child.local_name] = child.node_id
                waiting.append((*path, child.local_name))
    return found


def _variables_of_graph(nodes: Any, outputs: Any) -> Iterator[tuple[str, ...]]:
    """Names of the variables that outputs are computed from, in the checkpoint as in the graph."""
    by_name = {node.name: node for node in nodes}
    waiting = [output.name.split(":")[0] for output in outputs]
    seen = set(waiting)
    for name in waiting:
        node = by_name[name]
        if node.op in VARIABLES:
            yield (node.attr["shared_name"].s.decode() or name,)
        sources = {source.lstrip("^").split(":")[0] for source in node.input} - seen
        seen |= sources
        waiting.extend(sorted(sources))
