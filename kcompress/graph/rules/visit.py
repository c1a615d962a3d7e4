"""A call as a rule sees it, and what many rules say of it."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kcompress.graph.channels import Axes, Axis, Tensor, Trace
from kcompress.graph.flow import Call, Flow, Shape

NOT_ELEMENTWISE = ("softmax", "log_softmax", "sparsemax", "glu")


@dataclass(frozen=True)
class Visit:
    """One call of `layer`, or of one inside the called layer where that is a wrapper.

    `given` are the tensors among its arguments, in order, and the arrays, which have no identities; `shapes` are those
    of its outputs. `again` visits an inner layer, `follow` the calls of an inner model.
    """

    trace: Trace
    call: Call
    layer: Any
    given: tuple[Tensor, ...]
    shapes: tuple[Shape, ...]
    again: "Rule"
    follow: Callable[[Trace, Flow, Sequence[Axes]], Mapping[int, Axes]]

    @property
    def label(self) -> str:
        return self.trace.name(self.layer)

    def inner(self, layer: Any, given: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Axes]:
        """What a layer inside this one does."""
        return self.again(replace(self, layer=layer, given=tuple(given), shapes=tuple(shapes)))

    def unknown(self, why: str) -> list[Axes]:
        """Pin all inputs and leave the layer as it is; the outputs have no identities."""
        for tensor in self.given:
            self.pin(tensor.axes, why)
        self.trace.keep(self.layer, why)
        return [(None,) * len(shape) for shape in self.shapes]

    def pin(self, axes: Iterable[Axis], why: str) -> None:
        for axis in axes:
            self.trace.pin(axis, why)

    def only(self, tensor: Tensor, *allowed: int, does: str) -> None:
        """Pin what lies along any but the allowed axes, as `does` tells what the layer does along them."""
        rest = [axis for number, axis in enumerate(tensor.axes) if number not in {a % tensor.rank for a in allowed}]
        self.pin(rest, f"{self.label} {does} it")

    def activated(self, axes: Axes) -> Axes:
        """Pin everything where the layer's activation mixes what lies along an axis."""
        if is_elementwise(getattr(self.layer, "activation", None)):
            return axes
        self.pin(axes, f"the activation of {self.label} mixes it")
        return (None,) * len(axes)

    def arguments(self) -> dict[str, Any]:
        """The arguments by name, with a `Tensor` in place of each tensor and array."""
        given = iter(self.given)
        args, kwargs = _walk((self.call.args, dict(self.call.kwargs)), lambda item: next(given))
        return dict(inspect.signature(self.layer.call).bind(*args, **kwargs).arguments)


def operands(call: Call, given: Sequence[Tensor]) -> Iterator[Tensor]:
    """The tensors among the arguments of a call and, in order with them, its arrays and lists of numbers."""
    import keras

    if call.kind == "GetItem":  # whose numbers are no operands
        return iter(given)
    tensors, found = iter(given), list[Tensor]()

    def seen(item: Any) -> None:
        if isinstance(item, keras.KerasTensor):
            found.append(next(tensors))
        else:
            found.append(Tensor(np.shape(item), (None,) * np.ndim(item)))

    _walk((call.args, dict(call.kwargs)), seen)
    return iter(found)


def _walk(item: Any, change: Callable[[Any], Any]) -> Any:
    """The same structure, in which `change` was called on tensors and arrays; lists of numbers count as arrays."""
    import keras

    if isinstance(item, dict):
        return {key: _walk(item[key], change) for key in sorted(item)}
    if isinstance(item, (list, tuple)) and not _is_numeric(item):
        return type(item)(_walk(part, change) for part in item)
    return change(item) if isinstance(item, keras.KerasTensor) or _is_numeric(item) else item


def _is_numeric(item: Any) -> bool:
    """Whether it is an array, or a list that can be made one."""
    import keras

    if isinstance(item, (list, tuple)):
        leaves = keras.tree.flatten(item)
        return bool(leaves) and all(isinstance(leaf, (int, float)) for leaf in leaves)
    return bool(getattr(item, "shape", ())) and not isinstance(item, keras.KerasTensor)


Rule = Callable[[Visit], list[Axes]]


def is_elementwise(activation: Any) -> bool:
    """Whether an activation function of Keras's own works on each element by itself."""
    import keras

    if activation is None:
        return True
    if isinstance(activation, keras.Layer):
        return type(activation).__name__ in ("ReLU", "LeakyReLU", "ELU") and activation.__module__.startswith("keras.")
    name, module = getattr(activation, "__name__", ""), str(getattr(activation, "__module__", ""))
    known = module.startswith(("keras.src.activations", "keras.src.ops.nn"))
    return known and name not in NOT_ELEMENTWISE


def _symbols(call: Call) -> list[Any]:
    """The symbolic tensors among the arguments, in the order of the call's inputs."""
    import keras

    flat = keras.tree.flatten((call.args, dict(call.kwargs)))
    return [item for item in flat if isinstance(item, keras.KerasTensor)]


def masks(call: Call) -> set[int]:
    """Which of a call's inputs are the masks that Keras hands on from layer to layer."""
    import keras

    mask = [item for item in keras.tree.flatten(call.kwargs.get("mask")) if isinstance(item, keras.KerasTensor)]
    if not mask:
        return set()
    others = keras.tree.flatten((call.args, {key: v for key, v in call.kwargs.items() if key != "mask"}))
    known = {id(item) for item in others}
    chosen = {id(item) for item in mask} - known
    return {number for number, tensor in enumerate(_symbols(call)) if id(tensor) in chosen}


def channel_axis(layer: Any, rank: int) -> int:
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1


def put(rank: int, at: int, ids: Axis) -> Axes:
    """Axes of which all but one are None."""
    return tuple(ids if number == at else None for number in range(rank))
