"""The same model, the same bytes: put an ONNX graph's nodes, weights and names in an order of their own.

tf2onnx walks sets of names, and TensorFlow counts up the scopes of a process, so that two runs on one model number,
name and order its nodes differently. Here nodes are ordered by a walk back from the outputs, and values are called
after what makes them, in that order; of two equal outputs the later one is the copy; sizes that are unknown have no
names but the batch's. Graphs inside Loop and If likewise.
"""

from collections.abc import Iterator
from typing import Any

BATCH = "batch"


def settle(graph: Any) -> None:
    """Reorder and rename a graph in place; its inputs and outputs keep their names."""
    _settle_copies(graph)
    _settle(graph, {value.name: value for value in (*graph.inputs, *graph.outputs)})


def _settle(graph: Any, taken: dict[str, Any]) -> None:
    """`taken` holds the value of every new name so far."""
    import onnx_ir as ir

    nodes = _ordered(graph)
    graph.remove(set(graph).difference(nodes))
    graph.extend(nodes)  # each moves to the end
    read = [*(value for node in nodes for value in reads(node)), *graph.outputs]
    weights = [value for value in dict.fromkeys(read) if value.is_initializer() and value.graph is graph]
    graph.initializers.clear()
    for value in graph.inputs:
        _rename(value, "input", taken)
    for value in weights:
        _rename(value, "weight", taken)
        graph.register_initializer(value)
    for number, node in enumerate(nodes):
        for value in node.outputs:
            _rename(value, node.op_type, taken)
        for inner in _graphs(node):
            inner.name = f"{node.op_type}_body"
            _settle_copies(inner)
            _settle(inner, taken)
        node.name = f"{node.op_type}_{number}"
    for value in (*graph.inputs, *graph.outputs):
        if value.shape is not None:
            sizes = (size if isinstance(size, int) or size.value == BATCH else None for size in value.shape)
            value.shape = ir.Shape(sizes)
    for value in (*weights, *(value for node in nodes for value in node.outputs)):
        if not value.is_graph_output():
            value.type = value.shape = None


def _settle_copies(graph: Any) -> None:
    """Where an output is an Identity of a later output, make it the other way round; the two are equal."""
    outputs = graph.outputs
    for node in graph:
        if node.op_type != "Identity" or not {node.inputs[0], node.outputs[0]} <= set(outputs):
            continue
        first, last = outputs.index(node.outputs[0]), outputs.index(node.inputs[0])
        if first < last:
            copy, original = outputs[first], outputs[last]
            copy.name, original.name = original.name, copy.name
            copy.shape, original.shape = original.shape, copy.shape
            outputs[first], outputs[last] = original, copy


def _rename(value: Any, kind: str, taken: dict[str, Any]) -> None:
    """Give a value a new name, `kind` and a number; the model's own inputs and outputs have theirs already."""
    if not value.name or taken.get(value.name) is value:
        return
    number = len(taken)
    while f"{kind}_{number}" in taken:
        number += 1
    value.name = f"{kind}_{number}"
    taken[value.name] = value


def _ordered(graph: Any) -> list[Any]:
    """The nodes that the outputs depend on, each after what it reads."""
    done: dict[Any, None] = {}
    stack = [(value.producer(), False) for value in reversed(graph.outputs)]
    while stack:
        node, ready = stack.pop()
        if node is None or node.graph is not graph or node in done:
            continue
        if ready:
            done[node] = None
            continue
        stack.append((node, True))
        stack.extend((value.producer(), False) for value in reversed(list(reads(node))))
    return list(done)


def _graphs(node: Any) -> list[Any]:
    import onnx_ir as ir

    return [each.value for each in node.attributes.values() if each.type == ir.AttributeType.GRAPH]


def reads(node: Any) -> Iterator[Any]:
    """Values that a node reads, those that graphs inside it take from outside included."""
    yield from (value for value in node.inputs if value is not None)
    for graph in _graphs(node):
        yield from (value for inner in graph for value in reads(inner) if value.graph is not graph)
