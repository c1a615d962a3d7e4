"""Bindings of the arrays of the data to the inputs of the model."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from kcompress.data.batches import Arrays, Key, leaves
from kcompress.data.source import InputShapes, Leaf
from kcompress.errors import DataError


@dataclass(frozen=True)
class InputBinding:
    """One input of the model: its name, the key of its array, and whether that lacks a last axis of 1."""

    input: str
    key: Key
    add_axis: bool


def bindings_for(name: str, spec: Mapping[Key, Leaf], inputs: InputShapes) -> tuple[InputBinding, ...]:
    """Return the binding of each input, in the model's order.

    Args:
        name: the data set's, for messages.
        spec: the arrays that the data has.
        inputs: the model's inputs in order, name to shape with the batch axis in front.

    Raises:
        DataError: an input without an array, an array without an input, or a shape that does not match.
    """
    keys = _keys(name, spec, inputs)
    return tuple(
        _binding(name, spec[keys[wanted]], keys[wanted], wanted, shape[1:]) for wanted, shape in inputs.items()
    )


def _keys(name: str, spec: Mapping[Key, Leaf], inputs: InputShapes) -> dict[str, Key]:
    """Return the key of the array for each input."""
    if all(isinstance(key, str) for key in spec):
        return _by_name(name, [str(key) for key in spec], inputs)
    if len(spec) != len(inputs):
        names = ", ".join(map(repr, inputs))
        raise DataError(
            f"{name}: x is {len(spec)} array{'s' * (len(spec) > 1)}, the model has {len(inputs)} input"
            f"{'s' * (len(inputs) > 1)} ({names}); give one array for each, best as a dict by name"
        )
    return dict(zip(inputs, spec, strict=True))


def _by_name(name: str, given: list[str], inputs: InputShapes) -> dict[str, Key]:
    """Match by name; the key 'left' also suits an input 'x_left', for npz keys drop that prefix."""
    keys: dict[str, Key] = {}
    for wanted in inputs:
        short = wanted.removeprefix("x_")
        if wanted in given:
            keys[wanted] = wanted
        elif short in given and short not in inputs:
            keys[wanted] = short
        else:
            raise DataError(
                f"{name}: nothing for the model's input {wanted!r} among {', '.join(map(repr, given))}"
                f"{nearest(wanted, [key for key in given if key not in inputs])}; name the arrays like the inputs"
            )
    extra = [key for key in given if key not in keys.values()]
    if extra:
        raise DataError(
            f"{name}: the model has no input {', '.join(map(repr, extra))}; "
            f"its inputs are {', '.join(map(repr, inputs))}; leave out what it does not take"
        )
    return keys


def nearest(word: str, choices: Collection[str]) -> str:
    """Return ` (did you mean '…'?)` if one of the choices is near, and nothing otherwise."""
    close = difflib.get_close_matches(word, choices, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _binding(name: str, leaf: Leaf, key: Key, wanted: str, shape: tuple[int | None, ...]) -> InputBinding:
    if _matches(leaf.shape, shape):
        return InputBinding(wanted, key, add_axis=False)
    if _matches((*leaf.shape, 1), shape):
        return InputBinding(wanted, key, add_axis=True)
    raise DataError(
        f"{name}: {leaf.label} has samples of shape {leaf.shape}, the model's input {wanted!r} wants {shape}; "
        "give data of that shape"
    )


def _matches(given: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(given) == len(wanted) and all(
        have is None or want is None or have == want for have, want in zip(given, wanted, strict=True)
    )


def bind(x: Arrays, bindings: tuple[InputBinding, ...]) -> dict[str, np.ndarray]:
    """Return the name and the array, (samples, ...), of each input, in the order of the bindings."""
    arrays = leaves(x)
    return {each.input: arrays[each.key][..., None] if each.add_axis else arrays[each.key] for each in bindings}
