"""What a model computes, as a flat list of calls of layers and Keras operations, through nested models.

Each call of a nested Functional or Sequential model is replaced by the calls inside the model, whose inputs are then
the tensors of that call. Every tensor has its own number; a layer that is called twice has two outputs. All this is
read from the structure that Keras keeps of a model; nothing is run.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kcompress.keras_internals import functional_of, input_structure, is_functional_class, nodes_in_order, producer
from kcompress.model.view import nodes

Shape = tuple[int | None, ...]
PASSING = ("Identity", "Dropout", "GaussianDropout", "AlphaDropout", "GaussianNoise", "ActivityRegularization")
SPATIAL = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or of a bare Keras operation (`keras.ops.add`), whose `name` is then None.

    `inputs` are the numbers of the tensors among its arguments, in order. `args` and `kwargs` are the arguments, with
    the symbolic tensors of the innermost model around the call. `training` is set where the call, or that of a model
    around it, fixes the mode.
    """

    operation: Any
    name: str | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    training: bool | None = None

    @property
    def symbols(self) -> list[Any]:
        """The symbolic tensors among the arguments, in the order of `inputs`."""
        import keras

        flat = keras.tree.flatten((self.args, dict(self.kwargs)))
        return [item for item in flat if isinstance(item, keras.KerasTensor)]

    @property
    def label(self) -> str:
        """The qualified name, or for a bare operation Keras's own name of it."""
        return self.name or str(self.operation.name)

    @property
    def kind(self) -> str:
        """Name of the class of the layer or operation."""
        return type(self.operation).__name__


@dataclass(frozen=True)
class Flow:
    """All calls in the order in which they run, the model's inputs and outputs, and the shape of every tensor."""

    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: Mapping[int, Shape]
    entries: tuple[tuple[Any, int], ...] = ()
    """The input layers of nested models, each with the tensor that takes its place."""

    @cached_property
    def producers(self) -> Mapping[int, Call]:
        """Tensor to the call that it comes from; the model's inputs are not in it."""
        return {tensor: call for call in self.calls for tensor in call.outputs}

    @cached_property
    def consumers(self) -> Mapping[int, tuple[Call, ...]]:
        """Tensor to the calls that use it; that a tensor is an output of the model is not among them."""
        found: dict[int, list[Call]] = {tensor: [] for tensor in self.shapes}
        for call in self.calls:
            for tensor in dict.fromkeys(call.inputs):
                found[tensor].append(call)
        return {tensor: tuple(calls) for tensor, calls in found.items()}

    def makers(self, tensor: int) -> tuple[Call, ...]:
        """The call that gives a tensor; while a call only passes on or reshapes its input, the call before it too."""
        found: list[Call] = []
        call = self.producers.get(tensor)
        while call is not None:
            found.append(call)
            moves = passes_on(call) or call.kind in ("Reshape", "Flatten")
            call = self.producers.get(call.inputs[0]) if moves else None
        return tuple(found)

    def calls_of(self, operation: Any) -> tuple[Call, ...]:
        """Every call of this layer or operation, by identity."""
        return self._calls.get(id(operation), ())

    def owns_its_weights(self, layer: Any) -> bool:
        """Whether no other call uses a weight of the layer: no wrapper around it, and no layer tied to it."""
        return all(self._users[id(variable)] == 1 for variable in layer.weights)

    @cached_property
    def _calls(self) -> Mapping[int, tuple[Call, ...]]:
        found: dict[int, list[Call]] = {}
        for call in self.calls:
            found.setdefault(id(call.operation), []).append(call)
        return {key: tuple(calls) for key, calls in found.items()}

    @cached_property
    def _users(self) -> Counter[int]:
        operations = {id(call.operation): call.operation for call in self.calls}
        return Counter(id(v) for operation in operations.values() for v in getattr(operation, "weights", ()))


def passes_on(call: Call) -> bool:
    """Whether a call gives its input unchanged at inference."""
    import keras

    if call.training or len(call.inputs) != 1 or not type(call.operation).__module__.startswith("keras."):
        return False
    if call.kind == "Activation":
        return call.operation.activation is keras.activations.linear
    return call.kind in (*PASSING, *SPATIAL)


def flow(model: Any) -> Flow:
    """The calls of a Functional or Sequential model that has been built.

    A nested model of a class with a `call` or a constructor of its own is one call; such a model itself has none.
    """
    tracer = _Tracer({id(node.layer): node.name for node in nodes(model)})
    graph = graph_of(model)
    if graph is None:
        return Flow((), (), (), {})
    inputs = tuple(tracer.new(tensor) for tensor in graph.inputs)
    outputs = tuple(tracer.trace(graph, inputs))
    return Flow(tuple(tracer.calls), inputs, outputs, tracer.shapes, tuple(tracer.entries))


class _Tracer:
    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names
        self.calls: list[Call] = []
        self.shapes: dict[int, Shape] = {}
        self.entries: list[tuple[Any, int]] = []

    def new(self, tensor: Any) -> int:
        number = len(self.shapes)
        self.shapes[number] = tuple(tensor.shape)
        return number

    def trace(self, graph: Any, inputs: tuple[int, ...], training: bool | None = None) -> Iterator[int]:
        """Append the calls of one graph for these inputs; gives the numbers of its outputs."""
        known = {id(tensor): number for tensor, number in zip(graph.inputs, inputs, strict=True)}
        for node in nodes_in_order(graph):
            if node.is_input or any(id(tensor) not in known for tensor in node.input_tensors):
                continue  # an input, or a node that this graph does not need, as in Keras itself
            given = tuple(known[id(tensor)] for tensor in node.input_tensors)
            outputs = self.call(node, given, training)
            known.update((id(tensor), number) for tensor, number in zip(node.outputs, outputs, strict=True))
        return (known[id(tensor)] for tensor in graph.outputs)

    def call(self, node: Any, given: tuple[int, ...], training: bool | None) -> tuple[int, ...]:
        operation, arguments = node.operation, node.arguments
        if training is None:
            training = arguments.kwargs.get("training")
        inner = graph_of(operation)
        order = None if inner is None else _order(operation, inner, node)
        if inner is not None and order is not None:
            entering = tuple(given[position] for position in order)
            self.entries += [(producer(t), n) for t, n in zip(inner.inputs, entering, strict=True)]
            return tuple(self.trace(inner, entering, training))
        outputs = tuple(self.new(tensor) for tensor in node.outputs)
        name = self.names.get(id(operation))
        args, kwargs = tuple(arguments.args), dict(arguments.kwargs)
        self.calls.append(Call(operation, name, given, outputs, args, kwargs, training))
        return outputs


def graph_of(operation: Any) -> Any:
    """The Functional graph that a call of a model runs; None for anything but a model.

    It is also None for a class with a `call` or a constructor of its own: the first may not run its graph, the second
    can't be built with another graph.
    """
    origin = getattr(getattr(type(operation), "call", None), "__module__", "")
    if origin == "keras.src.models.sequential":
        return functional_of(operation)
    plain = origin == "keras.src.models.functional" and is_functional_class(type(operation))
    return operation if plain else None


def _order(model: Any, graph: Any, node: Any) -> list[int] | None:
    """For each input of the graph, which tensor of the call it is; None if they do not correspond one to one."""
    import keras

    given = node.arguments.args[0] if node.arguments.args else None
    if isinstance(given, dict) and not isinstance(input_structure(model), dict):
        names = [tensor.name for tensor in graph.inputs]
        tensors = [given[name] for name in names] if set(names) <= set(given) else []
    else:
        tensors = keras.tree.flatten(given)
    positions = {id(tensor): position for position, tensor in enumerate(node.input_tensors)}
    fits = len(tensors) == len(graph.inputs) and {id(tensor) for tensor in tensors} == set(positions)
    if not fits or any(len(a.shape) != len(b.shape) for a, b in zip(tensors, graph.inputs, strict=True)):
        return None
    return [positions[id(tensor)] for tensor in tensors]
