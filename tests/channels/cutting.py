"""Proof that a model that was cut computes what the original does if nothing reads what was dropped."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from kcompress.channels.channels import Channels, channels
from kcompress.channels.cut import cut
from kcompress.channels.cut import zeroed as zeroed_weights
from kcompress.channels.trace import Size
from kcompress.model.rebuild import copy, renumber_shared, variables
from kcompress.model.signature import signature
from tests.models import keras, seeded
from tests.sweep import some

OUTPUT = "its output is an output of the model"
HOLDERS = ("layer", "layers", "backward_layer", "cell", "cells", "build_config", "build_input_shape", "input_layers")
"""Parts of a config that hold the configs of other layers, or sizes that are told elsewhere."""


def proved(
    model: Any,
    droppable: int,
    pinned: dict[str, int],
    seeds: int = 2,
    tolerance: float = 1e-4,
    lengths: tuple[int, ...] = (7,),
) -> Channels:
    """Check which units of a model can go, drop some at random, and check all that is promised of a cut.

    `pinned` is the number of units for each reason, with the numbers left out that Keras puts behind names. Relative
    differences come from sums in another order, so that the tolerance is that of the issue, 1e-4 in float32. Axes of an
    unknown length get each of the `lengths`.
    """
    found = channels(seeded(model))
    reasons = Counter(re.sub(r"(?<=[a-z0-9])_\d+\b", "", why) for why in found.units.pinned.values())
    assert (found.units.count - len(found.units.pinned), dict(reasons)) == (droppable, pinned)
    for seed in some(range(seeds), lambda seed: seed == 0):
        dropped = some_units(found, seed)
        assert dropped.any() == (droppable > 0)
        smaller = cut(model, found, dropped)
        assert_only_sizes_differ(model, smaller, found, dropped)
        assert (smaller.count_params() < model.count_params()) == (droppable > 0)
        with_zeros = zeroed(model, found, dropped)
        assert_zeroes(model, with_zeros, found, dropped)
        for length in lengths:
            assert difference(with_zeros, smaller, samples(model, length)) < tolerance
    return found


def some_units(found: Channels, seed: int, share: float = 0.4) -> Any:
    """Units at random, none of them pinned, that leave every axis of weights and tensors at least one position."""
    random = np.random.default_rng(seed)
    dropped = random.random(found.units.count) < share
    dropped[list(found.units.pinned)] = False
    while emptied := [ids for ids in axes(found) if not found.units.stay(ids, dropped).any()]:
        for ids in emptied:
            dropped[found.units.of(ids)] = False
    if not dropped.any():  # too few to be drawn
        free = [unit for unit in range(found.units.count) if unit not in found.units.pinned]
        dropped[random.permutation(free)[:1].astype(int)] = True
    return dropped


def axes(found: Channels) -> Iterator[Any]:
    """The identities along every axis of a weight or a tensor, and those that a setting counts."""
    for slices in found.slices.values():
        yield from (ids for ids in slices.axes if ids is not None)
    for tensor in found.tensors.values():
        yield from (ids for ids in tensor if ids is not None)
    for settings in found.fields.values():
        yield from (ids for value in settings.values() for ids in sizes(value) if len(ids))


def sizes(value: Any) -> Iterator[Any]:
    """The identities that a setting counts."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from sizes(item)
    elif isinstance(value, Size):
        yield value.ids


def zeroed(model: Any, found: Channels, dropped: Any) -> Any:
    """A copy in which what is dropped is multiplied by zero wherever a weight reads it.

    Where channels are summed over without a weight, they must be zero themselves: all that makes them is.
    """
    mixed = np.zeros_like(dropped)
    for ids in found.mixed:
        mixed[found.units.of(ids)] = True
    smaller = copy(model)
    for source, target in zip(variables(model), variables(smaller), strict=True):
        slices = found.slices.get(id(source))
        values = np.asarray(source).copy()
        for number, ids in enumerate(slices.axes if slices else ()):
            if ids is not None:
                gone = ~found.units.stay(ids, dropped if number in slices.reads else dropped & mixed)
                np.moveaxis(values, number, 0)[gone] = 0
        target.assign(values)
    return smaller


def assert_zeroes(model: Any, with_zeros: Any, found: Channels, dropped: Any) -> None:
    """The library gives the weights that make a model the one above, and no others."""
    new = {id(variable): values for variable, values in zeroed_weights(model, found, dropped)}
    for source, target in zip(variables(model), variables(with_zeros), strict=True):
        np.testing.assert_array_equal(new.get(id(source), np.asarray(source)), np.asarray(target))
    assert bool(new) == bool(dropped.any())


def samples(model: Any, length: int = 7) -> list[Any]:
    """Random samples, one array for each input; axes of unknown length get this one."""
    random, sign = np.random.default_rng(1), signature(model)
    shapes = [[length if size is None else size for size in shape[1:]] for shape in sign.inputs.values()]
    batches = [shape[0] or 5 for shape in sign.inputs.values()]
    return [
        random.integers(0, 50, (batch, *shape)) if "int" in dtype else random.random((batch, *shape), np.float32)
        for batch, shape, dtype in zip(batches, shapes, sign.dtypes.values(), strict=True)
    ]


def difference(one: Any, other: Any, tensors: Any = None) -> float:
    """The largest difference of outputs, relative to the largest value of each output."""
    given = samples(one) if tensors is None else tensors
    pairs = list(zip(run(one, given), run(other, given), strict=True))
    assert all(np.abs(a).max() > 0 and np.isfinite(a).all() for a, _ in pairs)
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def run(model: Any, tensors: Any) -> list[Any]:
    """The outputs of a model, one by one."""
    outputs = model(signature(model).pack([keras().ops.convert_to_tensor(t) for t in tensors]))
    return [np.asarray(keras().ops.convert_to_numpy(t)).astype(np.float32) for t in keras().tree.flatten(outputs)]


def assert_only_sizes_differ(model: Any, smaller: Any, found: Channels, dropped: Any) -> None:
    """Names, order, what is trained, policies and settings are the same, and sizes are those that were predicted."""
    assert signature(smaller).inputs == signature(model).inputs
    assert signature(smaller).dtypes == signature(model).dtypes
    assert signature(smaller).outputs == signature(model).outputs
    assert [t.shape for t in smaller.outputs] == [t.shape for t in model.outputs]
    assert list(map(named, smaller.weights)) == list(map(named, model.weights))
    for source, target in zip(variables(model), variables(smaller), strict=True):
        axes = found.slices[id(source)].axes if id(source) in found.slices else (None,) * len(source.shape)
        assert tuple(target.shape) == tuple(
            size if ids is None else found.kept(ids, dropped) for size, ids in zip(source.shape, axes, strict=True)
        )
    for source, target in zip(model._flatten_layers(), smaller._flatten_layers(), strict=True):
        assert (type(target), target.name, target.trainable) == (type(source), source.name, source.trainable)
        assert target.dtype_policy == source.dtype_policy
        if hasattr(source, "get_config"):
            assert settings(target, source, found) == settings(source, source, found)


def named(variable: Any) -> Any:
    """What tells a weight from others, but for what Keras does not keep in a copy: scopes, and numbers of its own."""
    path = re.sub(r"/variable_\d+$", "/variable", "/".join(variable.path.split("/")[-2:]))
    return path, variable.dtype, variable.trainable, getattr(variable.regularizer, "get_config", dict)()


def settings(layer: Any, original: Any, found: Channels) -> Any:
    """The config of a layer without the numbers of channels and other layers' configs."""
    counted = {*found.fields.get(id(original), {}), *HOLDERS}
    if type(layer).__name__.endswith("Cell"):  # told of the layer that the cell is in
        counted |= {"units", "filters"}
    if (
        type(layer).__name__ == "EinsumDense" and id(original) not in found.fields
    ):  # told of the attention that it is in
        counted |= {"output_shape"}
    return renumber_shared({key: value for key, value in layer.get_config().items() if key not in counted})
