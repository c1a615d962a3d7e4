"""A model's outputs with some of its weights replaced; only the stages that this reaches are run again.

What goes from one stage to the next was kept when the model ran with its own weights, so layers before the first one
that is changed, and those beside, cost nothing. Each stage is compiled once.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.model.flow import Flow, flow
from kcompress.model.observe import to_arrays
from kcompress.model.signature import Signature
from kcompress.model.stages import Stage, Tensors, find_starts, independent, single_stage, stages
from kcompress.model.view import nodes
from kcompress.passes.capabilities import Replaced
from kcompress.training.compiled import on_backend

Arrays = list[NDArray[Any]]
STAGES = 16
"""How many there are at most: each costs a call, and the more there are the fewer layers run without need."""
KEPT = 100_000_000
"""The most values that are kept between stages, for all samples together."""


class Forward:
    """A model to be run on batches like `inputs`, of which there are `samples` in all.

    A model that is no graph of layers, or whose layers share more than tensors, is one stage.
    """

    def __init__(self, model: Any, sign: Signature, inputs: Mapping[str, NDArray[Any]], samples: int) -> None:
        self._sign = sign
        graph = flow(model)
        found = stages(model, graph, _starts(model, graph, sign, inputs, samples))
        self._arrange(found, graph.inputs, graph.outputs)
        if len(found) > 1:
            self.own(inputs)
        if len(found) < 2 or not independent(model, found):
            one = single_stage(model, sign)
            self._arrange([one], one.inputs, one.outputs)

    def _arrange(self, found: list[Stage], inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        self.stages, self._inputs, self._outputs = found, inputs, outputs
        self._used = {number for stage in found for number in stage.inputs}
        self._weights = {id(v): _tensor(np.asarray(v), v.dtype) for stage in found for v in stage.variables}
        self._steps = [on_backend(partial(stage.run)) for stage in found]  # TensorFlow takes methods for one function

    def own(self, inputs: Mapping[str, NDArray[Any]]) -> tuple[dict[int, Any], Arrays]:
        """What goes into the stages where nothing is changed, and the outputs."""
        given = [_tensor(np.asarray(inputs[name], dtype), dtype) for name, dtype in self._sign.dtypes.items()]
        values: dict[int, Any] = dict(zip(self._inputs, given, strict=True))
        for stage, step in zip(self.stages, self._steps, strict=True):
            self._run(stage, step, self._weights, values, values)
        outputs = _arrays([values[number] for number in self._outputs])
        return {number: tensor for number, tensor in values.items() if number in self._used}, outputs

    def changed(self, replaced: Replaced, kept: Mapping[int, Any], own: Arrays) -> Arrays:
        """The outputs with new values of some variables; `kept` and `own` are what this batch has without."""
        new = {id(variable): _tensor(values, variable.dtype) for variable, values in replaced}
        weights, moved = {**self._weights, **new}, dict[int, Any]()
        for stage, step in zip(self.stages, self._steps, strict=True):
            if not moved.keys().isdisjoint(stage.inputs) or any(id(v) in new for v in stage.variables):
                self._run(stage, step, weights, {**kept, **moved}, moved)
        after = {place: moved[number] for place, number in enumerate(self._outputs) if number in moved}
        found = dict(zip(after, _arrays(list(after.values())), strict=True))
        return [found.get(place, array) for place, array in enumerate(own)]

    def _run(self, stage: Stage, step: Any, weights: Any, values: Mapping[int, Any], into: dict[int, Any]) -> None:
        given = [values[number] for number in stage.inputs]
        into.update(zip(stage.outputs, step([weights[id(v)] for v in stage.variables], given), strict=True))


def _starts(model: Any, graph: Flow, sign: Signature, inputs: Mapping[str, NDArray[Any]], samples: int) -> list[int]:
    """Where stages begin; sizes that the model leaves open are taken to be the longest that the inputs have there."""
    pairs = [
        pair for name, shape in sign.inputs.items() for pair in zip(shape[1:], inputs[name].shape[1:], strict=True)
    ]
    longest = max((size for declared, size in pairs if declared is None), default=1)
    kernels = {id(weight.variable) for node in nodes(model) for weight in node.kernels}

    def width(number: int) -> int:
        return math.prod(size or longest for size in graph.shapes[number][1:])

    return find_starts(graph, kernels, STAGES, width, KEPT // max(1, samples))


def _tensor(values: Any, dtype: str) -> Any:
    import keras

    return keras.ops.convert_to_tensor(values, dtype)


def _arrays(tensors: Tensors) -> Arrays:
    return [np.asarray(array) for array in to_arrays(tensors)]
