"""A call as a rule sees it, and what many rules say of it."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kcompress.graph.channels import Axes, Axis, Tensor, Trace
from kcompress.graph.flow import Call, Shape

NOT_ELEMENTWISE = ("softmax", "log_softmax", "sparsemax", "glu")


@dataclass(frozen=True)
class Visit:
    """One call of `layer`, or of one inside the called layer where that is a wrapper; `again` visits the inner one.

    `given` are the tensors among its arguments, in order; `shapes` those of its outputs.
    """

    trace: Trace
    call: Call
    layer: Any
    given: tuple[Tensor, ...]
    shapes: tuple[Shape, ...]
    again: "Rule"

    @property
    def label(self) -> str:
        return self.trace.name(self.layer)

    def inner(self, layer: Any, given: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Axes]:
        """What a layer inside this one does."""
        return self.again(replace(self, layer=layer, given=tuple(given), shapes=tuple(shapes)))

    def unknown(self, why: str) -> list[Axes]:
        """Pin all inputs; the outputs have no identities."""
        self.trace.unknown.setdefault(id(self.layer), why)
        for tensor in self.given:
            self.pin(tensor.axes, why)
        return [(None,) * len(shape) for shape in self.shapes]

    def pin(self, axes: Iterable[Axis], why: str) -> None:
        for axis in axes:
            self.trace.pin(axis, why)

    def only(self, tensor: Tensor, *allowed: int, does: str) -> None:
        """Pin what lies along any but the allowed axes, as `does` tells what the layer does along them."""
        rest = [axis for number, axis in enumerate(tensor.axes) if number not in {a % tensor.rank for a in allowed}]
        self.pin(rest, f"{self.label} {does} it")

    def activated(self, axes: Axes) -> Axes:
        """Pin the last axis where the layer's activation mixes what lies along it."""
        if not is_elementwise(getattr(self.layer, "activation", None)):
            self.pin(axes, f"the activation of {self.label} mixes it")
        return axes

    def arguments(self) -> dict[str, Any]:
        """The arguments by name, with a `Tensor` in place of each symbolic tensor."""
        import keras

        masked = masks(self.call)
        symbols = [tensor for number, tensor in enumerate(_symbols(self.call)) if number not in masked]
        tensors = dict(zip(map(id, symbols), self.given, strict=True))
        args, kwargs = keras.tree.map_structure(
            lambda item: tensors.get(id(item), item), (self.call.args, dict(self.call.kwargs))
        )
        return dict(inspect.signature(self.layer.call).bind(*args, **kwargs).arguments)


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


def put(rank: int, **at: Axis) -> Axes:
    """Axes of which all but some are None: `put(4, _3=ids)`."""
    return tuple(at.get(f"_{number}") for number in range(rank))


def ravelled(ids: Any, shape: Sequence[int]) -> Any:
    return np.broadcast_to(ids, shape).reshape(-1)
