"""A model cut into stages that can be run one at a time, on the tensors that inputs or earlier stages gave.

A cut lies between two calls of layers, where few values cross it. Stages behind it can then be run again without those
before it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kcompress.keras_internals import mask_of, producer, takes_training
from kcompress.model.flow import Call, Flow
from kcompress.model.patching import patched
from kcompress.model.signature import Signature

Tensors = list[Any]


@dataclass(frozen=True, eq=False)
class Stage:
    """Some of a model's calls; `body` takes the tensors numbered `inputs`, and gives those numbered `outputs`.

    `variables` are those that it is known to use. The sets are filled when it runs or is traced: the ids of variables
    that it `read` and `wrote`, and the numbers of tensors that had a mask.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    variables: tuple[Any, ...]
    body: Callable[[Tensors], Tensors]
    read: set[int] = field(default_factory=set)
    wrote: set[int] = field(default_factory=set)
    masked: set[int] = field(default_factory=set)

    def run(self, weights: Sequence[Any], tensors: Tensors) -> Tensors:
        """What the stage gives with these values of its variables, not training; no variable is changed."""
        import keras

        scope = keras.StatelessScope(list(zip(self.variables, weights, strict=True)))
        before, known = dict(scope.state_mapping), scope.get_current_value

        def current(variable: Any) -> Any:
            self.read.add(id(variable))
            return known(variable)

        with scope, patched(scope, "get_current_value", current):
            found = self.body(tensors)
        self.wrote.update(key for key, value in scope.state_mapping.items() if before.get(key) is not value)
        return found


def single_stage(model: Any, sign: Signature) -> Stage:
    """The model as one stage; its inputs are numbered from 0 in order, and its outputs after them."""
    import keras

    first = len(sign.inputs)
    return Stage(
        tuple(range(first)),
        tuple(range(first, first + len(sign.outputs))),
        tuple(_variables(model)),
        lambda tensors: list(keras.tree.flatten(model(sign.pack(tensors), training=False))),
    )


def stages(model: Any, flow: Flow, starts: Collection[int]) -> list[Stage]:
    """A model's calls in stages that begin at the first call and at `starts`; tensors have the numbers of the flow.

    Once all stages have run, `independent` tells whether their results are those of the model.
    """
    known = {id(variable) for variable in _variables(model)}
    ends = [*sorted(starts), len(flow.calls)]
    parts = [flow.calls[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [_stage(part, flow, known) for part in parts if part]


def independent(model: Any, found: Sequence[Stage]) -> bool:
    """Whether stages that have run depend on each other only by their tensors.

    They do not if one uses a variable that is not known to be its own, writes a variable that another one uses, or
    gives a tensor with a mask.
    """
    if any(stage.masked for stage in found):
        return False
    known = {id(variable) for variable in _variables(model)}
    for stage in found:
        own = {id(variable) for variable in stage.variables}
        others = {id(variable) for other in found if other is not stage for variable in other.variables}
        if (stage.read | stage.wrote) & known - own or stage.wrote & others:
            return False
    return True


def find_starts(flow: Flow, weights: Collection[int], count: int, width: Callable[[int], int], most: int) -> list[int]:
    """The calls with which stages begin, so that there are at most `count`, with about equally many weights in each.

    A stage begins with a call that has one of the `weights` (ids of variables). Of such calls near each other, the one
    is taken where the fewest values cross. `width` gives the number of values of a tensor; the tensors that cross any
    cut have at most `most` values together.
    """
    places = [
        place for place, call in enumerate(flow.calls) if any(id(v) in weights for v in _variables(call.operation))
    ][1:]
    crossing = {place: _crossing(flow, place) for place in places}
    widths = {place: sum(map(width, numbers)) for place, numbers in crossing.items()}
    groups = np.array_split(places, min(len(places), count - 1)) if places and count > 1 else []
    chosen = [min(group.tolist(), key=widths.__getitem__) for group in groups]
    while chosen and sum(map(width, set().union(*(crossing[place] for place in chosen)))) > most:
        chosen.remove(max(chosen, key=widths.__getitem__))
    return chosen


def _crossing(flow: Flow, place: int) -> set[int]:
    """The tensors that are there before a call, and used by it or later ones."""
    made = {tensor for call in flow.calls[place:] for tensor in call.outputs}
    return {tensor for call in flow.calls[place:] for tensor in call.inputs} - made


def _stage(calls: Sequence[Call], flow: Flow, known: Collection[int]) -> Stage:
    inside = set(map(id, calls))
    made = [tensor for call in calls for tensor in call.outputs]
    inputs = dict.fromkeys(tensor for call in calls for tensor in call.inputs if tensor not in made)
    outputs = [n for n in made if n in flow.outputs or any(id(user) not in inside for user in flow.consumers[n])]
    used = {id(v): v for call in calls for v in _variables(call.operation) if id(v) in known}
    masked: set[int] = set()

    def body(tensors: Tensors) -> Tensors:
        values = dict(zip(inputs, tensors, strict=True))
        for call in calls:
            values.update(zip(call.outputs, _called(call, values), strict=True))
            masked.update(number for number in call.outputs if mask_of(values[number]) is not None)
        return [values[number] for number in outputs]

    return Stage(tuple(inputs), tuple(outputs), tuple(used.values()), body, masked=masked)


def _called(call: Call, values: Mapping[int, Any]) -> Tensors:
    """What a call gives, not training, as in a Functional model."""
    import keras

    given = iter([_given(symbol, values[n]) for symbol, n in zip(call.symbols, call.inputs, strict=True)])
    args, kwargs = keras.tree.map_structure(
        lambda item: next(given) if isinstance(item, keras.KerasTensor) else item, (call.args, dict(call.kwargs))
    )
    if takes_training(call.operation):
        kwargs["training"] = False
    return list(keras.tree.flatten(call.operation(*args, **kwargs)))


def _given(symbol: Any, value: Any) -> Any:
    """A value as a nested model takes it, which gives its inputs its own dtypes."""
    import keras

    if isinstance(producer(symbol), keras.layers.InputLayer):
        return keras.ops.convert_to_tensor(value, symbol.dtype)
    return value


def _variables(layer: Any) -> list[Any]:
    """All variables that a layer may read or write, seeds included; a bare operation has none."""
    return [*getattr(layer, "trainable_variables", ()), *getattr(layer, "non_trainable_variables", ())]
