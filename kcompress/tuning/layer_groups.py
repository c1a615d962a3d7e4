"""Groups of layers that may have values of their own, by how sensitive they are, and where to start then."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kcompress import backend
from kcompress.analysis.effects import Sensitivity
from kcompress.analysis.levels import LEVELS
from kcompress.analysis.measuring import measure
from kcompress.analysis.score_cache import key_of
from kcompress.data import Splits
from kcompress.errors import UsageError
from kcompress.formats import find
from kcompress.formats.trusted import trusting
from kcompress.model.view import nodes
from kcompress.progress import Hooks
from kcompress.recipe import build
from kcompress.run.options import Budgets
from kcompress.tuning.marks import EACH, Value
from kcompress.tuning.template import Layers, Place, Template

POINTS = 4
"""How many values of a field are tried to tell layers apart, where sensitivity has no levels for it."""
ROOM = 0.9
"""The share of a file's bytes that weights may take."""
SHARES = (0.25, 0.5)
"""How far from the fewest bits to the most to start, without a budget in bytes."""


class LayerGrouping:
    """Groups the layers of one model; sensitivities are measured once for all fields that need them."""

    def __init__(self, source: Path, splits: Splits, seed: int, trust: Sequence[str], hooks: Hooks) -> None:
        from kcompress.formats.keras.runner import KerasRunner

        backend.load()
        self.seed, self.trust, self.hooks = seed, trust, hooks
        with hooks.progress(f"reading {source.name}", None), trusting(trust):
            self.model = find(source).read(source, trust)
        self.splits = splits.fit_to(KerasRunner(self.model).inputs)
        self.key = key_of(source, splits)
        self.sensitivity: Sensitivity | None = None

    def apply(self, template: Template) -> Template:
        """The template with groups of layers where its marks ask for some."""
        fields = {_field(p): _levels(p) for p in template.grouped if p.mark.groups != EACH}
        if fields:
            with trusting(self.trust):
                self.sensitivity = measure(
                    self.model, self.splits, fields=fields, seed=self.seed, hooks=self.hooks, key=self.key
                )
        return template.with_groups(lambda place: self.grouped(template, place))

    def grouped(self, template: Template, place: Place) -> Sequence[Layers]:
        """The groups for one place."""
        if place.mark.groups == EACH:
            start = Template(template.entries, template.places, {}).middle()
            changed = build(template.fill(start)[place.entry])
            return [(node.name,) for node, _ in changed.select(self.model).chosen]
        assert self.sensitivity is not None and isinstance(place.mark.groups, int)
        return self.sensitivity.clusters(place.pass_name, place.field, place.mark.groups)

    def starts(self, template: Template, limits: Budgets) -> list[dict[str, Value]]:
        """Values to begin with: bits for each group that cost the least distortion in the bytes that there are."""
        bits_of = [p for p in template.places if p.tunable is not None and p.tunable.weight_bits]
        place = next((p for p in bits_of if template.groups.get(p.name)), None)
        if place is None or self.sensitivity is None or (place.pass_name, place.field) not in self.sensitivity.fields:
            return []
        bits = sorted({int(value) for value in place.mark.points(8)})
        found = []
        for budget in self._budgets(bits, limits):
            chosen = self.sensitivity.allocation(self.model, budget, bits)
            values = template.middle()
            for dimension in template.dimensions:
                if dimension.place == place:
                    values[dimension.name] = self._together(dimension.layers, chosen, bits)
            found.append(values)
        return found

    def _budgets(self, bits: Sequence[int], limits: Budgets) -> list[float]:
        """Bytes for all weights, as allocation takes them."""
        assert self.sensitivity is not None
        if limits.max_size is not None:
            return [limits.max_size * ROOM]
        kernels = sum(self.sensitivity.weights.values())
        stored = sum(w.values.nbytes for node in nodes(self.model) for w in node.weights)
        rest = stored - sum(w.values.nbytes for node in nodes(self.model) for w in node.kernels)
        return [rest + kernels * (bits[0] + share * (bits[-1] - bits[0])) / 8 for share in SHARES]

    def _together(self, layers: Layers, chosen: dict[str, int], bits: Sequence[int]) -> int:
        """The number of bits nearest to what a group's layers have, each counted by its weights."""
        assert self.sensitivity is not None
        sizes = [self.sensitivity.weights.get(layer, 0) for layer in layers]
        total = sum(size * chosen.get(layer, bits[-1]) for layer, size in zip(layers, sizes, strict=True))
        mean = total / max(1, sum(sizes))
        return min(bits, key=lambda each: (abs(each - mean), each))


def check(template: Template) -> None:
    """UsageError for groups of a field whose values can't be put in order of how much they cost."""
    for place in template.grouped:
        numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in place.mark.ends)
        if place.mark.groups != EACH and not numbers:
            raise UsageError(f"{place.name}: groups by sensitivity go with numbers; give groups: each, or leave it out")


def _field(place: Place) -> str:
    return f"{place.pass_name}:{place.field}"


def _levels(place: Place) -> Any:
    return LEVELS.get(_field(place)) or [float(value) for value in place.mark.points(POINTS)]
