"""A model's inputs and outputs: their names in order, shapes, and how flat lists map to its nested structures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kcompress.errors import UnsupportedError
from kcompress.keras_internals import input_structure, output_structure, producer


@dataclass(frozen=True)
class Signature:
    """Input names to shapes (batch axis in front) and dtypes, output names, and the structure that a call takes."""

    inputs: dict[str, tuple[int | None, ...]]
    dtypes: dict[str, str]
    outputs: tuple[str, ...]
    structure: Any

    @property
    def batch(self) -> int | None:
        """The number of samples that the inputs have fixed; None for any."""
        return next(iter(self.inputs.values()))[0]

    def pack(self, tensors: Sequence[Any]) -> Any:
        """One tensor per input, in order, as the model's call takes them: alone, in a list or in a dict."""
        import keras

        return keras.tree.pack_sequence_as(self.structure, list(tensors))


def signature(model: Any) -> Signature:
    """The signature of a Functional or Sequential model, called before or not.

    Raises UnsupportedError for a model without fixed inputs: a subclassed one, or a Sequential without an input shape.
    """
    import keras

    if not isinstance(model, (keras.Sequential, keras.models.Model)) or not getattr(model, "inputs", None):
        kind = "Sequential model without an input shape" if isinstance(model, keras.Sequential) else "subclassed model"
        raise UnsupportedError(
            f"'{model.name}' is a {kind}; give it fixed inputs: keras.Sequential([keras.Input(shape), ...]) or "
            "keras.Model(inputs, outputs), and save it again"
        )
    tensors = list(model.inputs)
    names = [str(producer(t).name) for t in tensors]
    structure = input_structure(model)
    return Signature(
        {name: tuple(t.shape) for name, t in zip(names, tensors, strict=True)},
        {name: str(t.dtype) for name, t in zip(names, tensors, strict=True)},
        _output_names(model),
        tensors[0] if structure is None else structure,
    )


def _output_names(model: Any) -> tuple[str, ...]:
    """One name per output, in order: its key where the model returns a dict, else the layer's that it comes from.

    Several outputs of one name get their position behind it.
    """
    import keras

    structure = output_structure(model)
    if isinstance(structure, dict):
        names = [str(key) for key in sorted(structure) for _ in keras.tree.flatten(structure[key])]
    else:
        names = [str(producer(t).name) for t in model.outputs]
    counts, taken = Counter(names), set(names)
    unique = []
    for position, name in enumerate(names):
        label = name
        while counts[name] > 1 and label in taken:
            label = f"{label}_{position}"
        taken.add(label)
        unique.append(label)
    return tuple(unique)
