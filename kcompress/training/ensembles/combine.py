"""Several models as one ordinary model: the average of their outputs, a weighted one, or a dense layer on top of them.

Outputs are turned into probabilities first, where they are logits. Weights are those of the likeliest mixture on a
share of the training data, for values those of the least squared error. All of it is layers and operations of Keras's
own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.errors import DataError, UnsupportedError
from kcompress.keras_internals import output_structure
from kcompress.measure.scoring import kind_of
from kcompress.model.observe import outputs, to_arrays
from kcompress.model.signature import signature
from kcompress.numerics.mixture import closest, likeliest
from kcompress.training.ensembles.heldout import HeldOut, held_out, target
from kcompress.training.ensembles.members import Members, nest
from kcompress.training.ensembles.stacking import dense, evidence, trained
from kcompress.training.labelled import filled, labelled, renamed
from kcompress.training.losses.output_kind import output_kinds
from kcompress.training.losses.soft_targets import OutputKind
from kcompress.typing import Combination

Array = NDArray[Any]
MADE: dict[OutputKind, OutputKind] = {"logits": "probabilities", "binary_logits": "sigmoid"}
"""What an output of logits is turned into."""
EXAMPLES = 32
OPEN_SIZE = 16


@dataclass(frozen=True)
class Ensemble:
    """One model made of several. `members` give each one's outputs as the ensemble reads them, probabilities or values.

    `weights` has for each output the share of each member; none where a head decides.
    """

    model: Any
    members: list[Any]
    weights: dict[str, list[float]]


def ensemble(
    models: Sequence[Any], names: Sequence[str], how: Combination, data: Dataset | None, seed: int, reader: Any = None
) -> Ensemble:
    """Combine models that take and give the same; `names` are what messages call them.

    `data` are training data for `reader`, which is the first model where it is not given; weights and heads need their
    labels. Raises ModelError, with both shapes, for models that differ in them.
    """
    found = nest(models, names)
    reader = reader or models[0]
    kinds = _kinds(found, data, reader)
    labels = list(found.first.outputs)
    made = [
        [_probable(found, item) for item in zip(each, kinds[i], labels, strict=True)]
        for i, each in enumerate(found.outputs)
    ]
    plain = [MADE.get(kind, kind) for kind in kinds[0]]
    weights: dict[str, list[float]] = {}
    if how == "average":
        combined = [_mean(found, label, parts) for label, parts in zip(labels, zip(*made, strict=True), strict=True)]
        weights = {label: [1 / len(models)] * len(models) for label in labels}
    elif data is None or not data.labelled:
        raise DataError(f"{how} needs labels; give training data with them, or average")
    elif how == "weighted":
        parts = list(zip(*made, strict=True))
        held = held_out(found.model([part for each in parts for part in each], "members"), reader, data, seed)
        weights = dict(zip(labels, _weights(held, data.name, labels, plain, len(models)), strict=True))
        combined = [_sum(found, label, each, weights[label]) for label, each in zip(labels, parts, strict=True)]
    else:
        read = [_evidence(found, number, [each[number] for each in kinds]) for number in range(len(labels))]
        held = held_out(found.model(read, "evidence"), reader, data, seed)
        combined = []
        for tensor, kind, label, seen, truth in zip(read, plain, labels, held.predictions, held.labels, strict=True):
            shape = (*seen.shape[:-1], seen.shape[-1] // len(models))
            kernel, bias = trained(seen, target(data.name, label, kind, truth, shape), kind, data.name, seed)
            combined.append(dense(shape[-1], kind, kernel, bias, _own(found, label))(tensor))
    packed = [_structured(models[0], tensors) for tensors in (combined, *made)]
    return Ensemble(found.model(packed[0], "ensemble"), [found.model(each, "member") for each in packed[1:]], weights)


def _kinds(found: Members, data: Dataset | None, reader: Any) -> list[list[OutputKind]]:
    """What each member's outputs hold, in the first one's order; all members and the labels together decide."""
    views = [found.model(each, "member") for each in found.outputs]
    sign = signature(views[0])
    if data is None:
        sizes = [
            [size or (OPEN_SIZE if axis else 1) for axis, size in enumerate(shape)] for shape in sign.inputs.values()
        ]
        batch = {name: np.zeros(shape) for name, shape in zip(sign.inputs, sizes, strict=True)}
        return output_kinds(views, batch, None)
    seen = next(labelled(reader, data, EXAMPLES, labels=data.labelled))
    rows = sign.batch or len(next(iter(seen.inputs.values())))
    batch = {name: filled(x, rows) for name, x in renamed(sign.inputs, seen.inputs).items()}
    if not data.labelled:
        return output_kinds(views, batch, None)
    given = [np.asarray(to_arrays(tensor), np.float32) for tensor in outputs(views[0], sign, batch)]
    named = zip(found.first.outputs, seen.labels, given, strict=True)
    label_kinds = [kind_of(data.name, name, filled(label, rows), output) for name, label, output in named]
    return output_kinds(views, batch, label_kinds)


def _probable(found: Members, item: tuple[Any, OutputKind, str]) -> Any:
    """An output as probabilities; values as they are."""
    import keras

    tensor, kind, label = item
    if kind not in MADE:
        return tensor
    activation = "softmax" if kind == "logits" else "sigmoid"
    return keras.layers.Activation(activation, name=found.name(f"{label}_{activation}"), dtype="float32")(tensor)


def _own(found: Members, label: str) -> str:
    """The name for the layer that makes an output: that of the first member's, unless an input is called so."""
    return found.name(label) if label in found.first.inputs else label


def _mean(found: Members, label: str, parts: Sequence[Any]) -> Any:
    import keras

    return keras.layers.Average(name=_own(found, label), dtype="float32")(list(parts))


def _sum(found: Members, label: str, parts: Sequence[Any], weights: Sequence[float]) -> Any:
    import keras

    scaled = [
        keras.layers.Rescaling(weight, name=found.name(f"{label}_share"), dtype="float32")(part)
        for part, weight in zip(parts, weights, strict=True)
    ]
    return keras.layers.Add(name=_own(found, label), dtype="float32")(scaled)


def _weights(
    held: HeldOut, data: str, labels: Sequence[str], kinds: Sequence[OutputKind], count: int
) -> list[list[float]]:
    """The shares of the members, for each output."""
    shares = []
    for number, (label, kind) in enumerate(zip(labels, kinds, strict=True)):
        given = np.stack(held.predictions[number * count : (number + 1) * count])
        truth = target(data, label, kind, held.labels[number], given.shape[1:])
        flat, wanted = given.reshape(count, -1), truth.reshape(-1)
        if kind == "values":
            share = closest(flat, wanted)
        else:
            if kind == "sigmoid":
                flat, wanted = np.concatenate([flat, 1 - flat], 1), np.concatenate([wanted, 1 - wanted])
            share = likeliest(flat[:, wanted > 0], wanted[wanted > 0])
        shares.append([float(value) for value in share])
    return shares


def _evidence(found: Members, number: int, kinds: Sequence[OutputKind]) -> Any:
    """What a head reads for one output, as one tensor: that of each member after the other along the last axis."""
    import keras

    label = found.first.outputs[number]
    tensors = [each[number] for each in found.outputs]
    if len(tensors[0].shape) < 2 or tensors[0].shape[-1] is None:
        raise UnsupportedError(
            f"output '{label}' of shape {tuple(tensors[0].shape)} has no last axis of a known size, which stacked "
            "needs; take average or weighted"
        )
    read = [
        evidence(tensor, kind, found.name(f"{label}_evidence")) for tensor, kind in zip(tensors, kinds, strict=True)
    ]
    return keras.layers.Concatenate(name=found.name(f"{label}_all"), dtype="float32")(read)


def _structured(model: Any, tensors: Sequence[Any]) -> Any:
    """Outputs in the structure that a model gives them in."""
    import keras

    structure = output_structure(model)
    if structure is None:
        return tensors[0] if len(tensors) == 1 else list(tensors)
    return keras.tree.pack_sequence_as(structure, list(tensors))
