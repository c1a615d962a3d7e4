"""What the outputs of several models hold, such as a student and its teacher, told for all together."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.measure.scoring import Kind
from kcompress.model.observe import outputs, to_arrays
from kcompress.model.signature import signature
from kcompress.training.output_form import output_kind
from kcompress.training.soft_targets import OutputKind

CLASSES: dict[OutputKind, OutputKind] = {"logits": "logits", "probabilities": "logits", "sigmoid": "binary_logits"}
"""What an output of unknown kind holds where the other model's, for the same output, holds this."""


def forms_of(
    student: Any, teacher: Any, batch: Mapping[str, NDArray[Any]], kinds: Sequence[Kind] | None
) -> tuple[list[OutputKind], list[OutputKind]]:
    """The forms of the student's outputs and of the teacher's, in order; see `forms_together`."""
    mine, theirs = forms_together((student, teacher), batch, kinds)
    return mine, theirs


def forms_together(
    models: Sequence[Any], batch: Mapping[str, NDArray[Any]], kinds: Sequence[Kind] | None
) -> list[list[OutputKind]]:
    """For each model the forms of its outputs, in order.

    `batch` maps the first model's input names to arrays, `kinds` are those of the labels. Where one model tells by its
    activations that an output is of classes, the others' is too.
    """
    found = [_forms(model, batch, kinds) for model in models]
    for number, forms in enumerate(zip(*found, strict=True)):
        told: list[OutputKind] = [form for form in forms if form != "values"]
        for own in found:
            if own[number] == "values" and told:
                own[number] = CLASSES.get(told[0], told[0])
    return found


def _forms(model: Any, batch: Mapping[str, NDArray[Any]], kinds: Sequence[Kind] | None) -> list[OutputKind]:
    sign = signature(model)
    found = outputs(model, sign, renamed(sign.inputs, batch))
    return [
        output_kind(model, number, None if kinds is None else kinds[number], np.asarray(to_arrays(output), np.float32))
        for number, output in enumerate(found)
    ]


def renamed(names: Collection[str], batch: Mapping[str, Any]) -> dict[str, Any]:
    """A student's inputs, in order, under another model's names: by name where it has them all, else by position."""
    if set(names) <= set(batch):
        return {name: batch[name] for name in names}
    return dict(zip(names, batch.values(), strict=False))
