"""What the outputs of a student and of its teacher hold, told for both together."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.graph.observe import outputs, to_arrays
from kcompress.graph.signature import signature
from kcompress.measure.scoring import Kind
from kcompress.training._choice import form
from kcompress.training.soft_targets import Form

CLASSES: dict[Form, Form] = {"logits": "logits", "probabilities": "logits", "sigmoid": "binary_logits"}
"""What an output of unknown kind holds where the other model's, for the same output, holds this."""


def forms_of(
    student: Any, teacher: Any, batch: Mapping[str, NDArray[Any]], kinds: Sequence[Kind] | None
) -> tuple[list[Form], list[Form]]:
    """The forms of the student's outputs and of the teacher's, in order.

    `batch` maps the student's input names to arrays, `kinds` are those of the labels. Where one model tells by its
    activations that an output is of classes, the other's is too.
    """
    mine, theirs = _forms(student, batch, kinds), _forms(teacher, batch, kinds)
    for number, (own, other) in enumerate(zip(mine, theirs, strict=True)):
        if own == "values":
            mine[number] = CLASSES.get(other, other)
        if other == "values":
            theirs[number] = CLASSES.get(own, own)
    return mine, theirs


def _forms(model: Any, batch: Mapping[str, NDArray[Any]], kinds: Sequence[Kind] | None) -> list[Form]:
    sign = signature(model)
    found = outputs(model, sign, renamed(sign.inputs, batch))
    return [
        form(model, number, None if kinds is None else kinds[number], np.asarray(to_arrays(output), np.float32))
        for number, output in enumerate(found)
    ]


def renamed(names: Collection[str], batch: Mapping[str, Any]) -> dict[str, Any]:
    """A student's inputs, in order, under another model's names: by name where it has them all, else by position."""
    if set(names) <= set(batch):
        return {name: batch[name] for name in names}
    return dict(zip(names, batch.values(), strict=False))
