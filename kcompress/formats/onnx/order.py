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
    """Reorder and rename a GraphProto in place; its inputs and outputs keep their names."""
    kept = {value.name for value in (*graph.input, *graph.output)}
    _settle(graph, {name: name for name in kept}, set(kept))


def _settle(graph: Any, names: dict[str, str], taken: set[str]) -> None:
    """`names` maps old to new for all that is visible here, `taken` holds every new name so far."""
    _settle_copies(graph)
    nodes = _ordered(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for value in graph.input:
        _fresh(value.name, "input", names, taken)
    read = [name for node in nodes for name in reads(node)] + [value.name for value in graph.output]
    used = list(dict.fromkeys(name for name in read if name in weights))
    for name in used:
        _fresh(name, "weight", names, taken)
    for number, node in enumerate(nodes):
        for name in filter(None, node.output):
            _fresh(name, node.op_type, names, taken)
        for inner in _graphs(node):
            inner.name = f"{node.op_type}_body"
            _settle(inner, dict(names), taken)
        node.input[:] = [names[name] if name else name for name in node.input]
        node.output[:] = [names[name] if name else name for name in node.output]
        node.name = f"{node.op_type}_{number}"
        if not node.domain:
            node.ClearField("domain")  # empty is the same as absent, but not in bytes
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
        for size in value.type.tensor_type.shape.dim:
            if size.HasField("dim_param") and size.dim_param != BATCH:
                size.ClearField("dim_param")
    copies = [copied(weights[name]) for name in used]
    for tensor in copies:
        tensor.name = names[tensor.name]
    del graph.node[:], graph.value_info[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(copies)


def _settle_copies(graph: Any) -> None:
    """Where an output is an Identity of a later output, make it the other way round; the two are equal."""
    order = {value.name: position for position, value in enumerate(graph.output)}
    for node in list(graph.node):
        if node.op_type != "Identity":
            continue
        copied, original = node.output[0], node.input[0]
        if copied in order and original in order and order[copied] < order[original]:
            exchange(graph, {copied: original, original: copied})


def exchange(graph: Any, names: dict[str, str]) -> None:
    """Rename values wherever nodes make or read them, also inside, but not in the list of outputs."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in _graphs(node):
            exchange(inner, names)
            for value in inner.output:
                value.name = names.get(value.name, value.name)


def _fresh(name: str, kind: str, names: dict[str, str], taken: set[str]) -> None:
    """Give a value a new name, `kind` and a number; the model's own inputs and outputs have theirs already."""
    if names.get(name) == name:
        return
    number = len(taken)
    while f"{kind}_{number}" in taken:
        number += 1
    names[name] = f"{kind}_{number}"
    taken.add(names[name])


def _ordered(graph: Any) -> list[Any]:
    """The nodes that the outputs depend on, each after what it reads, as copies."""
    makers = {name: node for node in graph.node for name in node.output if name}
    done: dict[int, Any] = {}
    stack = [(name, False) for name in reversed([value.name for value in graph.output])]
    while stack:
        name, ready = stack.pop()
        node = makers.get(name)
        if node is None or id(node) in done:
            continue
        if ready:
            done[id(node)] = node
            continue
        stack.append((name, True))
        stack.extend((name, False) for name in reversed(list(reads(node))))
    return [copied(node) for node in done.values()]


def _graphs(node: Any) -> list[Any]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def reads(node: Any) -> Iterator[str]:
    """Names that a node reads, those that graphs inside it take from outside included."""
    yield from (name for name in node.input if name)
    for graph in _graphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        own |= {name for inner in graph.node for name in inner.output}
        for inner in graph.node:
            yield from (name for name in reads(inner) if name not in own)
        yield from (value.name for value in graph.output if value.name not in own)


def copied(message: Any) -> Any:
    """A part of a model that does not go away with the list that it is taken from."""
    return type(message).FromString(message.SerializeToString())
