"""A call as a rule gets it, and what many rules do with it."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kcompress.channels.trace import Axes, Axis, Tensor, Trace
from kcompress.model.flow import Call, Flow, Shape

STAYS = "brings it together with what stays"
NOT_ELEMENTWISE = ("softmax", "log_softmax", "sparsemax", "glu")


@dataclass(frozen=True)
class Visit:
    """One call of `layer`, or of one inside the called layer where that is a wrapper.

    `given` are the tensors among its arguments, in order, and the arrays, which have no identities; `masks` are those
    that a layer gets as `mask`, as from a layer before it; `shapes` are those of its outputs. `again` visits an inner
    layer, `follow` the calls of an inner model.
    """

    trace: Trace
    call: Call
    layer: Any
    given: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    shapes: tuple[Shape, ...]
    again: "Rule"
    follow: Callable[[Trace, Flow, Sequence[Axes]], Mapping[int, Axes]]

    @property
    def label(self) -> str:
        return self.trace.name(self.layer)

    def inner(self, layer: Any, given: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Axes]:
        """What a layer inside this one does."""
        return self.again(replace(self, layer=layer, given=tuple(given), masks=(), shapes=tuple(shapes)))

    def unknown(self, why: str) -> list[Axes]:
        """Pin all inputs and leave the layer as it is; the outputs have no identities."""
        for tensor in self.given:
            self.pin(tensor.axes, why)
        self.trace.unknown.setdefault(id(self.layer), why)
        self.trace.keep(self.layer, why)
        return [(None,) * len(shape) for shape in self.shapes]

    def pin(self, axes: Iterable[Axis], why: str) -> None:
        for axis in axes:
            self.trace.pin(axis, why)

    def only(self, tensor: Tensor, *allowed: int, does: str) -> None:
        """Pin what lies along any but the allowed axes; `does` is the verb of the reason, such as `slides along`."""
        rest = [axis for number, axis in enumerate(tensor.axes) if number not in {a % tensor.rank for a in allowed}]
        self.pin(rest, f"{self.label} {does} it")

    def together(self, axes: Sequence[Axis], why: str) -> Axis:
        """Unite axes, position by position; gives the first, or None if one of them has no identities."""
        first: Axis = next((axis for axis in axes if axis is not None), None)
        for axis in axes:
            if axis is not first:
                self.trace.unite(first, axis, f"{self.label} {why}")
        return first if all(axis is not None for axis in axes) else None

    def activated(self, axes: Axes) -> Axes:
        """Pin everything where the layer's activation mixes what lies along an axis."""
        if is_elementwise(getattr(self.layer, "activation", None)):
            return axes
        self.pin(axes, f"the activation of {self.label} mixes it")
        return (None,) * len(axes)

    def arguments(self) -> dict[str, Any]:
        """The arguments by name but for `mask`, with a `Tensor` in place of each tensor and array."""
        given = iter(self.given)
        kwargs = {name: item for name, item in self.call.kwargs.items() if name != "mask"}
        args, kwargs = _walk((self.call.args, kwargs), lambda item: next(given))
        return dict(inspect.signature(self.layer.call).bind(*args, **kwargs).arguments)


def operands(call: Call, given: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors and arrays among the arguments of a call, in order; and apart from them those given as `mask`."""
    import keras

    tensors, found, masks = iter(given), list[Tensor](), list[Tensor]()

    def collect(argument: Any, target: list[Tensor]) -> None:
        def seen(item: Any) -> None:
            shape = tuple(item.shape)
            is_tensor = isinstance(item, keras.KerasTensor)
            target.append(next(tensors) if is_tensor else Tensor(shape, (None,) * len(shape)))

        _walk(argument, seen)

    if call.kind == "GetItem":  # the numbers are no operands
        return list(given), []
    collect(call.args, found)
    for name in sorted(call.kwargs):
        is_mask = name == "mask" and isinstance(call.operation, keras.Layer)
        collect(call.kwargs[name], masks if is_mask else found)
    return found, masks


def _walk(item: Any, change: Callable[[Any], Any]) -> Any:
    """The same structure, in which `change` was called on every tensor and array."""
    import keras

    if isinstance(item, dict):
        return {key: _walk(item[key], change) for key in sorted(item)}
    if isinstance(item, (list, tuple)):
        return type(item)(_walk(part, change) for part in item)
    return change(item) if isinstance(item, keras.KerasTensor) or getattr(item, "shape", None) else item


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


def channel_axis(layer: Any, rank: int) -> int:
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1


def put(rank: int, at: int, ids: Axis) -> Axes:
    """Axes of which all but one are None."""
    return tuple(ids if number == at else None for number in range(rank))
