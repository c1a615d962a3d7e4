"""The same model, the same bytes: put an ONNX graph's nodes, weights and names in an order of their own.

tf2onnx walks sets of names, so that two runs on one model number and order its nodes differently. Here nodes are
ordered by a walk back from the outputs, and values are renamed in that order; graphs inside Loop and If likewise.
"""

import re
from collections.abc import Iterator
from typing import Any

COUNTER = re.compile(r"__\d+")


def settle(graph: Any) -> None:
    """Reorder and rename a GraphProto in place; its inputs and outputs keep their names."""
    kept = {value.name for value in (*graph.input, *graph.output)}
    _settle(graph, {name: name for name in kept}, set(kept))


def _settle(graph: Any, names: dict[str, str], taken: set[str]) -> None:
    """`names` maps old to new for all that is visible here, `taken` holds every new name so far."""
    nodes = _ordered(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for value in graph.input:
        _fresh(value.name, names, taken)
    used: dict[str, None] = {}
    for node in nodes:
        used.update((name, None) for name in _reads(node) if name in weights)
    used.update((name, None) for name in sorted(weights) if name in {value.name for value in graph.output})
    for name in used:
        _fresh(name, names, taken)
    for number, node in enumerate(nodes):
        for name in node.output:
            if name:
                _fresh(name, names, taken)
        for inner in _graphs(node):
            _settle(inner, dict(names), taken)
        node.input[:] = [names[name] if name else name for name in node.input]
        node.output[:] = [names[name] if name else name for name in node.output]
        node.name = f"{node.op_type}_{number}"
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    tensors = [weights[name] for name in used]
    for tensor in tensors:
        tensor.name = names[tensor.name]
    copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in tensors]
    del graph.initializer[:]
    graph.initializer.extend(copies)


def _fresh(name: str, names: dict[str, str], taken: set[str]) -> None:
    """Give a value a new name: its own without counters, and a number where that is taken."""
    if names.get(name) == name and name in taken:
        return
    base = COUNTER.sub("", name)
    new, number = base, 1
    while new in taken:
        new, number = f"{base}_{number}", number + 1
    taken.add(new)
    names[name] = new


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
        stack.extend((read, False) for read in reversed(list(_reads(node))))
    return [type(node).FromString(node.SerializeToString()) for node in done.values()]


def _graphs(node: Any) -> list[Any]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _reads(node: Any) -> Iterator[str]:
    """Names that a node reads, those that graphs inside it take from outside included."""
    yield from (name for name in node.input if name)
    for graph in _graphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        own |= {name for inner in graph.node for name in inner.output}
        for inner in graph.node:
            yield from (name for name in _reads(inner) if name not in own)
        yield from (value.name for value in graph.output if value.name not in own)
