"""Pairs of layers of a student and a teacher whose outputs are compared: by name, or the last of each spatial size."""

import difflib
from collections.abc import Sequence
from typing import Any

from kcompress.errors import UsageError
from kcompress.model.flow import flow
from kcompress.model.view import Node, nodes

AUTO = "auto"
Shape = tuple[int | None, ...]


class Layers:
    """The layers of a model that can be compared, by qualified name, with the shape of what each makes."""

    def __init__(self, model: Any) -> None:
        calls = flow(model)
        by_layer = {id(node.layer): node for node in nodes(model)}
        self.shapes: dict[str, Shape] = {}
        self.nodes: dict[str, Node] = {}
        self._last: dict[Shape, str] = {}
        ends = set(calls.outputs)
        for call in calls.calls:
            node = by_layer.get(id(call.operation))
            if node is None or len(call.outputs) != 1:
                continue
            shape = tuple(calls.shapes[call.outputs[0]])
            self.nodes[node.name], self.shapes[node.name] = node, shape
            if call.outputs[0] not in ends and len(shape) > 1 and call.kind not in ("InputLayer", "Flatten", "Reshape"):
                self._last[shape[1:-1]] = node.name

    def node(self, name: str, whose: str) -> Node:
        """The layer of that name; UsageError if there is none."""
        if name not in self.nodes:
            near = difflib.get_close_matches(name, self.nodes, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(list(self.nodes)[:8])}"
            raise UsageError(f"features={name}: the {whose} has no such layer; {hint}")
        return self.nodes[name]

    def paired(self, other: "Layers") -> list[tuple[str, str]]:
        """The last layer of each spatial size that both have."""
        return [(name, other._last[size]) for size, name in self._last.items() if size in other._last]


def pairs(student: Any, teacher: Any, asked: Sequence[str], alike: bool) -> list[tuple[Node, Node]]:
    """The layers to compare. `asked` are entries STUDENT=TEACHER, or a name that both have, or `auto`.

    With `alike` they must have the same shape. Raises UsageError for names that are not there, and shapes that differ.
    """
    mine, other = Layers(student), Layers(teacher)
    named: list[tuple[str, str]] = []
    for entry in asked:
        if entry == AUTO:
            named += mine.paired(other)
        else:
            left, _, right = entry.partition("=")
            named.append((left.strip(), right.strip() or left.strip()))
    found = [(mine.node(left, "student"), other.node(right, "teacher")) for left, right in dict.fromkeys(named)]
    for own, theirs in found:
        shapes = mine.shapes[own.name], other.shapes[theirs.name]
        if alike and shapes[0][1:] != shapes[1][1:]:
            raise UsageError(
                f"features={own.name}={theirs.name}: the student's output is {shapes[0][1:]}, the teacher's "
                f"{shapes[1][1:]}; give layers of one shape, or feature_loss=similarity"
            )
    return found
