"""A model's outputs with new values of some weights; only the stages that depend on these are run again.

The tensors between stages are kept from a run with the model's own weights. So layers before a changed one, or on
another branch, cost nothing. Each stage is compiled once.
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
from kcompress.passes.capabilities import NewValues
from kcompress.training.compiled import on_backend

Arrays = list[NDArray[Any]]
STAGES = 16
"""The most stages of a model. Each costs a call; with more of them, fewer layers are run without need."""
KEPT = 100_000_000
"""The most values that are kept between stages, for all samples together."""


class Forward:
    """A model to be run on batches like `inputs`, of which there are `samples` in all.

    The model is one stage if it is no graph of layers, or if its stages are not independent.
    """

    def __init__(self, model: Any, sign: Signature, inputs: Mapping[str, NDArray[Any]], samples: int) -> None:
        self._sign = sign
        graph = flow(model)
        found = stages(model, graph, _starts(model, graph, sign, inputs, samples))
        self._arrange(found, graph.inputs, graph.outputs)
        if len(found) > 1:
            self.unchanged(inputs)
        if len(found) < 2 or not independent(model, found):
            one = single_stage(model, sign)
            self._arrange([one], one.inputs, one.outputs)

    def _arrange(self, found: list[Stage], inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        self.stages, self._inputs, self._outputs = found, inputs, outputs
        self._used = {number for stage in found for number in stage.inputs}
        self._weights = {id(v): _tensor(np.asarray(v), v.dtype) for stage in found for v in stage.variables}
        self._compiled = [on_backend(partial(stage.run)) for stage in found]  # TensorFlow traces a method only once

    def unchanged(self, inputs: Mapping[str, NDArray[Any]]) -> tuple[dict[int, Any], Arrays]:
        """The tensors that go into stages, by number, and the outputs, both with the model's own weights."""
        given = [_tensor(np.asarray(inputs[name], dtype), dtype) for name, dtype in self._sign.dtypes.items()]
        values: dict[int, Any] = dict(zip(self._inputs, given, strict=True))
        for stage, run in zip(self.stages, self._compiled, strict=True):
            self._run(stage, run, self._weights, values, values)
        outputs = _arrays([values[number] for number in self._outputs])
        return {number: tensor for number, tensor in values.items() if number in self._used}, outputs

    def changed(self, new_values: NewValues, kept: Mapping[int, Any], own: Arrays) -> Arrays:
        """The outputs with new values of some variables; `kept` and `own` are what `unchanged` gave for the batch."""
        new = {id(variable): _tensor(values, variable.dtype) for variable, values in new_values}
        weights, moved = {**self._weights, **new}, dict[int, Any]()
        for stage, run in zip(self.stages, self._compiled, strict=True):
            if not moved.keys().isdisjoint(stage.inputs) or any(id(v) in new for v in stage.variables):
                self._run(stage, run, weights, {**kept, **moved}, moved)
        after = {place: moved[number] for place, number in enumerate(self._outputs) if number in moved}
        found = dict(zip(after, _arrays(list(after.values())), strict=True))
        return [found.get(place, array) for place, array in enumerate(own)]

    def _run(self, stage: Stage, run: Any, weights: Any, values: Mapping[int, Any], into: dict[int, Any]) -> None:
        given = [values[number] for number in stage.inputs]
        into.update(zip(stage.outputs, run([weights[id(v)] for v in stage.variables], given), strict=True))


def _starts(model: Any, graph: Flow, sign: Signature, inputs: Mapping[str, NDArray[Any]], samples: int) -> list[int]:
    """The calls with which stages begin; open sizes are taken to be the largest that the inputs have for one."""
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
