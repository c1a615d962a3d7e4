"""Which channels are ranked together, and which must stay because of what a recipe asks for."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompress.graph.channels import Channels
from kcompress.graph.identities import Ids
from kcompress.graph.rules.attention import HEADS, WIDTH
from kcompress.graph.view import Node, nodes
from kcompress.passes.rules import Selection

ROUNDING = 1e-9

if TYPE_CHECKING:
    from kcompress.passes.prune.structured import Structured


@dataclass(frozen=True)
class Group:
    """Units made by the same layers, of which any may go while `least` stay; how many stay is a multiple of `step`.

    `layers` are the qualified names of those that make them; `size` counts those that can't go too. Channels may be
    made of units of several groups, as those of heads of their number and of their width: `axes` says of how many.
    """

    units: Ids
    layers: tuple[str, ...]
    size: int
    step: int
    least: int
    axes: int
    settings: "Structured"

    def part(self, share: float) -> float:
        """The share of units to remove, so that all groups together remove this share of the channels."""
        return float(1 - (1 - share) ** (1 / self.axes))

    @property
    def most(self) -> int:
        """The most units that can go."""
        return self.allowed(self.size - self.least)

    def next(self, gone: int) -> int:
        """The smallest number of units that may go and is above `gone`; the same if there is none."""
        return max(gone, self.allowed(self.size - max(self.size - gone - 1, 0) // self.step * self.step))

    def allowed(self, gone: int) -> int:
        """The largest number of units that may go and is not above `gone`."""
        gone = min(gone, len(self.units), self.size - self.least)
        left = -(-(self.size - gone) // self.step) * self.step
        return max(self.size - left, 0)


def protected(model: Any, channels: Channels, selection: Selection) -> dict[int, str]:
    """Unit to the reason why it stays: pinned in the graph, or made by a layer that is not to be cut."""
    reasons = dict(channels.units.pinned)
    skipped = {skip.layer: skip.reason for skip in selection.skipped}
    chosen = {node.name for node, _ in selection.chosen}
    for node in nodes(model):
        if not node.kernels or node.name in chosen:
            continue
        why = skipped.get(node.name)
        text = f"{node.name} is not selected" if why is None else f"{node.name} is left alone: {why}"
        for unit in own_units(channels, node):
            reasons.setdefault(int(unit), text)
    return reasons


def own_units(channels: Channels, node: Node) -> Ids:
    """Units of what a layer makes or passes on: along all axes of its weights but those that it sums over."""
    found = [channels.units.of(source.ids) for source in channels.sources if source.layer == node.name]
    for weight in node.weights:
        slices = channels.slices.get(id(weight.variable))
        if slices is not None:
            axes = [axis for n, axis in enumerate(slices.axes) if axis is not None and n not in slices.reads]
            found += [channels.units.of(axis) for axis in axes]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.intp)


def groups(channels: Channels, selection: Selection, reasons: Mapping[int, str]) -> list[Group]:
    """Groups of more than one unit, in the order of the model; units with a reason to stay are not in them."""
    settings: dict[str, Any] = {node.name: step for node, step in selection.chosen}
    made_by: dict[int, list[int]] = defaultdict(list)
    arrays = [source.ids for source in channels.sources] + list(channels.factors)
    for number, ids in enumerate(arrays):
        for unit in channels.units.of(ids).tolist():
            made_by[unit].append(number)
    together: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for unit, numbers in made_by.items():
        together[tuple(numbers)].append(unit)
    found = []
    for places, units in together.items():
        makers = [channels.sources[n] for n in places if n < len(channels.sources)]
        layers = tuple(dict.fromkeys(maker.layer for maker in makers if maker.layer in settings))
        free = np.array([unit for unit in sorted(units) if unit not in reasons], np.intp)
        if len(units) < 2 or not len(free) or not layers:
            continue
        step = _settings([settings[layer] for layer in layers])
        counts = [_positions(channels, maker.ids, units[0]) for maker in makers if maker.what not in (HEADS, WIDTH)]
        multiple = math.lcm(*(step.round_to // math.gcd(step.round_to, count) for count in counts))
        axes = max(2 if maker.what in (HEADS, WIDTH) else _axes(channels, maker.ids) for maker in makers)
        total = min((len(maker.ids) for maker in makers if maker.what not in (HEADS, WIDTH)), default=math.inf)
        enough = math.ceil(len(units) * min(1, step.min_channels / total) ** (1 / axes) - ROUNDING)
        least = max(enough, len(units) - len(free), 1)
        found.append(Group(free, layers, len(units), multiple, min(least, len(units)), axes, step))
    return found


def _settings(steps: "Sequence[Structured]") -> "Structured":
    """Those of the first layer for which a rule says something, else those that hold for all."""
    plain = [step for step in steps if step.rules]
    return next((step for step in steps if not step.rules), plain[0] if plain else steps[0])


def _axes(channels: Channels, ids: Ids) -> int:
    """Of how many units each position is made at most."""
    return int((channels.units.made_of[ids] < channels.units.count).sum(axis=1).max())


def _positions(channels: Channels, ids: Ids, unit: int) -> int:
    """How many positions of a layer's channels are made of a unit."""
    return int((channels.units.made_of[ids] == unit).any(axis=1).sum())
