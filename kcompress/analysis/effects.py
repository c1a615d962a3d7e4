"""The effects on a model's outputs of changing one layer alone, and settings for each layer derived from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from kcompress.analysis import rows
from kcompress.analysis.heat import heat_map
from kcompress.analysis.probe import Reference
from kcompress.backend import installed
from kcompress.errors import MissingExtraError, UsageError
from kcompress.fields import tunable_of
from kcompress.model.view import nodes
from kcompress.numerics import allocation, clusters
from kcompress.passes import find
from kcompress.report.document import Document, Result

PER_BIT = 4.0
"""The factor of the distortion for one bit less, if not measured: the scale doubles, squared errors quadruple."""


@dataclass(frozen=True)
class Effect:
    """The effect of one value of a pass's field if only these layers are changed.

    Attributes:
        layers: qualified names; several where they can only be changed together.
        distortion: Σ (ŷ − y)² / Σ y² of an output, as logits if it is of classes; the mean over outputs. It is infinite
            if an output is.
        drop: what the metric lost, in points for accuracy, positive where it is worse; None without labels.
        agreement: share of samples on which the top-1 is the same, or the cosine similarity of other outputs.
        cut: whether this value was not run since a milder one was clearly bad; the figures are then those of that one.
    """

    pass_name: str
    field: str
    layers: tuple[str, ...]
    value: float
    distortion: float
    drop: float | None
    agreement: float
    cut: bool = False


@dataclass(frozen=True)
class Sensitivity(Result):
    """How sensitive the layers of a model are.

    Attributes:
        effects: by field, then by layers in the order of the model, then from mild to severe.
        skipped: `PASS:FIELD` to the layers that the pass left alone, and why.
        reference: what the effects are relative to.
        weights: qualified name of a layer to the number of values in its kernels.
        source, seconds: the file, and how long it took.
    """

    effects: tuple[Effect, ...]
    skipped: Mapping[str, Mapping[str, str]]
    reference: Reference
    weights: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    seconds: float = 0.0

    def document(self) -> Document:
        title = f"Sensitivity of {self.source}"
        return Document(title, self.to_json(), rows.tables(self), rows.remarks(self), lambda: heat_map(self))

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Pass and field of what was tried, in order."""
        return list(dict.fromkeys((effect.pass_name, effect.field) for effect in self.effects))

    def of(self, pass_name: str, field: str) -> dict[tuple[str, ...], list[Effect]]:
        """Layers to the effects of a field on them, from mild to severe."""
        found: dict[tuple[str, ...], list[Effect]] = {}
        for effect in self.effects:
            if (effect.pass_name, effect.field) == (pass_name, field):
                found.setdefault(effect.layers, []).append(effect)
        return found

    def clusters(self, pass_name: str, field: str, groups: int) -> list[tuple[str, ...]]:
        """The layers in at most so many groups by how sensitive they are to a field, the most sensitive first.

        Each layer is in one group. If it is in several sets of coupled layers, the most sensitive set counts. Layers
        with kernels that the pass left alone, so that nothing was measured, are in the first group.
        Raises UsageError for a field without effects, MissingExtraError without SciPy.
        """
        _need_scipy("grouping layers")
        if groups < 1:
            raise UsageError(f"groups={groups} is not at least 1; give the number of groups of layers, such as 3")
        found = self.of(pass_name, field)
        if not found:
            measured = ", ".join(":".join(each) for each in self.fields) or "none"
            raise UsageError(f"{pass_name}:{field}: no effects were measured; there are those of: {measured}")
        names = list(found)
        profiles = np.array([[_at_least(effect) for effect in found[layers]] for layers in names])
        taken: set[str] = set()
        grouped: list[list[str]] = []
        for cluster in clusters.clusters(profiles, groups):
            own = [layer for row in cluster for layer in names[row] if layer not in taken]
            own = list(dict.fromkeys(own))
            taken.update(own)
            grouped.append(own)
        unknown = [layer for layer in self.skipped.get(f"{pass_name}:{field}", ()) if layer not in taken]
        grouped[0] += [layer for layer in unknown if layer in self.weights]
        return [tuple(own) for own in grouped if own]

    def allocation(self, model: Any, budget_bytes: float, bits: Sequence[int] = tuple(range(2, 9))) -> dict[str, int]:
        """Bits for each layer's kernels that together cost the least distortion within the budget.

        The budget is for all weights of the model: kernels in the bits chosen, other weights as they are now. The
        distortion of bits that were not measured is interpolated. If even the fewest bits are over the budget, every
        layer gets the fewest.
        Raises UsageError where bits were not measured, MissingExtraError without SciPy.
        """
        _need_scipy("allocating bits to layers")
        measured_bits = next((each for each in self.fields if _is_weight_bits(*each)), None)
        if measured_bits is None:
            raise UsageError("quantize.weights:bits: no effects were measured; measure them to allocate bits")
        found = {layers[0]: effects for layers, effects in self.of(*measured_bits).items()}
        measured = [effect.value for effects in found.values() for effect in effects]
        choices = sorted(each for each in set(bits) if min(measured) <= each <= max(measured))
        if not choices:
            raise UsageError(f"bits={list(bits)}: none is in [{min(measured):g}, {max(measured):g}], as was measured")
        sizes = {node.name: sum(w.values.size for w in node.kernels) for node in nodes(model)}
        names = [name for name in found if sizes.get(name)]
        stored = sum(w.values.nbytes for node in nodes(model) for w in node.weights)
        stored -= sum(w.values.nbytes for node in nodes(model) if node.name in names for w in node.kernels)
        costs = np.array([[cost(found[name], each) for each in choices] for name in names])
        room = np.array([[sizes[name] * each / 8 for each in choices] for name in names])
        chosen = allocation.allocate(costs, room, budget_bytes - stored) if names else []
        return {name: choices[0 if chosen is None else chosen[row]] for row, name in enumerate(names)}

    def to_json(self) -> dict[str, Any]:
        """`{"kcompress", "source", "samples", "metric", "value", "effects", "skipped", "weights", "seconds"}`.

        A distortion that is infinite is None.
        """
        from kcompress import __version__

        def plain(effect: Effect) -> dict[str, Any]:
            known = effect.distortion if math.isfinite(effect.distortion) else None
            entry = {**asdict(effect), "layers": list(effect.layers), "distortion": known}
            return {"pass": entry.pop("pass_name"), **entry}

        reference = self.reference
        return {
            "kcompress": __version__,
            "source": self.source,
            "samples": reference.samples,
            "metric": reference.metric,
            "value": reference.source,
            "effects": [plain(effect) for effect in self.effects],
            "skipped": {name: dict(layers) for name, layers in self.skipped.items()},
            "weights": dict(self.weights),
            "seconds": self.seconds,
        }


def cost(effects: Sequence[Effect], bits: int) -> float:
    """The distortion of so many bits, interpolated between the effects of other numbers of bits."""
    known = sorted((effect.value, effect.distortion) for effect in effects if not effect.cut)
    values = np.array([value for value, _ in known])
    logs = clusters.logarithms(np.array([distortion for _, distortion in known]))
    below = max(0.0, values[0] - bits)  # fewer bits than were run
    return float(10 ** (np.interp(bits, values, logs) + below * math.log10(PER_BIT)))


def _is_weight_bits(pass_name: str, field: str) -> bool:
    about = tunable_of(find(pass_name).model_fields[field])
    return about is not None and about.weight_bits


def _at_least(effect: Effect) -> float:
    """The distortion; at least 1, that of outputs of zero, if the value was not run as a milder one was clearly bad."""
    return max(effect.distortion, 1.0) if effect.cut else effect.distortion


def _need_scipy(purpose: str) -> None:
    if not installed("scipy"):
        raise MissingExtraError("search", purpose)
