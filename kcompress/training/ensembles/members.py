"""Models of the same inputs and outputs beside each other in one model, each nested under a name of its own.

Inputs and outputs go by name where the names agree, else by position.
"""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from kcompress.errors import ModelError
from kcompress.keras_internals import layers_of
from kcompress.model.patching import patched
from kcompress.model.rebuild import copy
from kcompress.model.signature import Signature, signature
from kcompress.training.teachers import fits, shown

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Members:
    """Copies of models on the same inputs: symbolic tensors, in the order of the first model's signature.

    `outputs` has for each member its outputs, in the order of the first one's; `taken` are the names in use.
    """

    first: Signature
    inputs: list[Any]
    outputs: list[list[Any]]
    taken: set[str]

    def model(self, outputs: Any, name: str) -> Any:
        """A model from the shared inputs, in the structure that the first member takes them in."""
        import keras

        return keras.Model(self.first.pack(self.inputs), outputs, name=name)

    def name(self, wanted: str) -> str:
        """A name for another layer of such a model: the one that is wanted, or with a number where it is taken."""
        found, number = wanted, 2
        while found in self.taken:
            found, number = f"{wanted}_{number}", number + 1
        self.taken.add(found)
        return found


def nest(models: Sequence[Any], names: Sequence[str]) -> Members:
    """Put copies of the models beside each other; `names` are what messages call them.

    Raises ModelError, with both shapes, where inputs or outputs do not fit those of the first.
    """
    import keras

    signs = [signature(model) for model in models]
    shapes = [
        dict(zip(s.outputs, (tuple(t.shape) for t in m.outputs), strict=True))
        for s, m in zip(signs, models, strict=True)
    ]
    first, inputs = signs[0], dict(signs[0].inputs)
    for sign, given, name in zip(signs[1:], shapes[1:], names[1:], strict=True):
        order = _matched("inputs", inputs, sign.inputs, names[0], name)
        _matched("outputs", shapes[0], given, names[0], name)
        for own, other in zip(inputs, order, strict=True):
            inputs[own] = _narrowed(own, inputs[own], sign.inputs[other], name)
    dtypes = {
        own: keras.backend.result_type(*(s.dtypes[_order(first.inputs, s.inputs)[number]] for s in signs))
        for number, own in enumerate(first.inputs)
    }
    tensors = [keras.Input(batch_shape=shape, dtype=dtypes[own], name=own) for own, shape in inputs.items()]
    found = Members(first, tensors, [], {*inputs, *first.outputs})
    for model, sign in zip(models, signs, strict=True):
        bare = _uncompiled(model)
        bare.name = found.name(model.name)
        order = _order(first.inputs, sign.inputs)
        by_name = dict(zip(order, tensors, strict=True))
        made = keras.tree.flatten(bare(sign.pack([by_name[name] for name in sign.inputs])))
        by_output = dict(zip(sign.outputs, made, strict=True))
        found.outputs.append([by_output[name] for name in _order(first.outputs, sign.outputs)])
    return found


def _order(own: Collection[str], others: Collection[str]) -> list[str]:
    """The names of another model's inputs or outputs in the order of one's own: by name, else by position."""
    return list(own) if set(own) == set(others) else list(others)


def _matched(what: str, own: dict[str, Shape], others: dict[str, Shape], first: str, name: str) -> list[str]:
    order = _order(own, others)
    theirs = [others[each] for each in order]
    if len(own) != len(others) or not all(map(fits, own.values(), theirs)):
        raise ModelError(
            f"{name}: its {what} are {shown(theirs)}, those of {first} {shown(list(own.values()))}; give models of the "
            "same inputs and outputs"
        )
    return order


def _narrowed(label: str, one: Shape, other: Shape, name: str) -> Shape:
    """A shape that suits both: where one leaves a size open, the other's."""
    if one[0] is not None and other[0] is not None and one[0] != other[0]:
        raise ModelError(
            f"{name}: input '{label}' has batches of {other[0]}, others have {one[0]}; give models of one batch "
            "size, or of any"
        )
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))


def _uncompiled(model: Any) -> Any:
    """A copy without compile state, which no part of another model needs."""
    with ExitStack() as stack:
        for layer in layers_of(model):
            if getattr(layer, "compiled", False):
                stack.enter_context(patched(layer, "compiled", False))
        return copy(model)
