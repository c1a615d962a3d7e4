"""Means and variances of batch normalization, estimated again for a model whose weights changed.

Over batches b of the training data: mean = E_b[mean_b], variance = E_b[variance_b + mean_b²] − mean². Moving averages
lag behind weights that still change, or that few steps changed. Source: Wu and Johnson, "Rethinking 'Batch' in
BatchNorm", 2021.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.model.call_hooks import forward_pre_hooks
from kcompress.model.flow import flow
from kcompress.model.patching import patched
from kcompress.model.signature import signature
from kcompress.model.view import Node, nodes
from kcompress.training.compiled import compiled

MOMENTUM = 0.9


def normalizations(model: Any) -> list[Node]:
    """The batch normalizations that follow what they see in training."""
    return [node for node in nodes(model) if follows(node)]


def follows(node: Node) -> bool:
    """Whether a layer is a batch normalization that is not frozen."""
    import keras

    return isinstance(node.layer, keras.layers.BatchNormalization) and bool(node.layer.trainable)


@contextmanager
def quicker(model: Any) -> Iterator[None]:
    """Meanwhile, let moving averages follow within tens of steps, as few trainings have thousands."""
    with ExitStack() as stack:
        for node in normalizations(model):
            stack.enter_context(patched(node.layer, "momentum", min(node.layer.momentum, MOMENTUM)))
        yield


def estimate(model: Any, batches: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    """Give the batch normalizations of a model the statistics of these batches, input name to array.

    One that is used in several places, or inside another layer, keeps its moving averages.
    """
    calls = flow(model)
    found = [node for node in normalizations(model) if len(calls.calls_of(node.layer)) == 1]
    if not found:
        return
    variables = [v for node in found for v in (node.layer.moving_mean, node.layer.moving_variance)]
    sign = signature(model)
    sums = [np.zeros(tuple(variable.shape)) for variable in variables]
    count = 0
    with ExitStack() as stack:
        for node in found:
            stack.enter_context(patched(node.layer, "momentum", 0.0))
        stack.enter_context(forward_pre_hooks(found, lambda _node, given: {**given, "training": True}))
        every = model.non_trainable_variables
        places = [next(i for i, other in enumerate(every) if other is variable) for variable in variables]
        run = compiled(
            model, sign.dtypes, lambda x: sign.pack(list(x.values())), lambda _, after: map(after.__getitem__, places)
        )
        for batch in batches:
            values = run(batch)
            for number in range(0, len(values), 2):
                mean, variance = (np.asarray(value, np.float64) for value in values[number : number + 2])
                sums[number] += mean
                sums[number + 1] += variance + mean**2
            count += 1
    for number in range(0, len(variables), 2):
        mean = sums[number] / count
        variables[number].assign(mean)
        variables[number + 1].assign(sums[number + 1] / count - mean**2)
