"""Which channels are ranked together, how many of them may go, and what they have to be a multiple of."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.channels.identities import Ids
from kcompress.model.view import nodes
from kcompress.passes.selection import Selection

if TYPE_CHECKING:
    from kcompress.passes.prune.structured import PruneStructured

ROUNDING = 1e-9  # of roots of whole numbers


@dataclass(frozen=True)
class ChannelGroup:
    """Units that the same layers make, and that are ranked together.

    Any may go while `least` stay and the number of those that stay is a multiple of `multiple`. `layers` are the
    qualified names of the layers that make them. `size` counts all units, also those that can't go. Channels may be
    made of units of several kinds, as those of attention are of heads and of places in each head; `kinds` is how many.
    """

    units: Ids
    layers: tuple[str, ...]
    size: int
    multiple: int
    least: int
    kinds: int
    settings: "PruneStructured"

    def part(self, share: float) -> float:
        """The share of units to remove, so that all groups together remove this share of the channels."""
        return float(1 - (1 - share) ** (1 / self.kinds))

    @property
    def most(self) -> int:
        """The most units that can go."""
        return self.allowed(self.size - self.least)

    def next(self, gone: int) -> int:
        """The smallest number of units that may go and is above `gone`; the same if there is none."""
        return max(gone, self.allowed(self.size - max(self.size - gone - 1, 0) // self.multiple * self.multiple))

    def allowed(self, gone: int) -> int:
        """The largest number of units that may go and is not above `gone`."""
        gone = min(gone, len(self.units), self.size - self.least)
        left = -(-(self.size - gone) // self.multiple) * self.multiple
        return max(self.size - left, 0)


@dataclass(frozen=True)
class Layout:
    """The channels that a kernel makes: how many, and the units of each kind that they are made of together.

    A dense layer's are of one kind; those of attention are made of heads and of places in each head.
    """

    channels: int
    kinds: tuple[Ids, ...]

    def multiple(self, unit: int, of_channels: int) -> int:
        """The number of units of its kind must be a multiple of this; that of channels then is one of `of_channels`.

        Each kind contributes what its number can, the largest first, and the last one the rest.
        """
        left = of_channels // math.gcd(of_channels, self.channels // math.prod(map(len, self.kinds)))
        ordered = sorted(self.kinds, key=len, reverse=True)
        for number, units in enumerate(ordered, 1):
            own = left if number == len(ordered) else math.gcd(left, len(units))
            if unit in units:
                return own
            left //= own
        return 1

    def least(self, size: int, channels: int) -> int:
        """How many units of a kind of `size` must stay, so that so many channels do if others stay in proportion."""
        share = float(min(1, channels / self.channels) ** (1 / len(self.kinds)))
        return math.ceil(size * share - ROUNDING)


def layouts(model: Any, channels: Channels) -> dict[int, list[Layout]]:
    """Unit to the layouts of the kernels that make it.

    Where some kernels have more kinds of units than others, as queries have more than keys, only those count.
    """
    found: dict[int, list[Layout]] = defaultdict(list)
    for node in nodes(model):
        for weight in node.kernels:
            slices = channels.slices.get(id(weight.variable))
            axes = [axis for _, axis in slices.made] if slices is not None else []
            rows = [np.unique(channels.units.made_of[axis], axis=0) for axis in axes]  # once for all gates
            columns = [np.unique(column) for each in rows for column in each.T]
            kinds = tuple(column[column < channels.units.count] for column in columns)
            layout = Layout(math.prod(map(len, rows)), tuple(units for units in kinds if len(units)))
            for unit in (unit for units in layout.kinds for unit in units.tolist()):
                found[unit].append(layout)
    most = {unit: max(len(each.kinds) for each in own) for unit, own in found.items()}
    return {unit: [each for each in own if len(each.kinds) == most[unit]] for unit, own in found.items()}


def channel_groups(
    model: Any, channels: Channels, selection: Selection, reasons: Mapping[int, str]
) -> list[ChannelGroup]:
    """Groups of more than one unit, in the order of the model; units with a reason to stay are not in them."""
    settings: dict[str, Any] = {node.name: chosen for node, chosen in selection.chosen}
    made_by: dict[int, list[int]] = defaultdict(list)
    arrays = [source.ids for source in channels.sources] + list(channels.factors)
    for number, ids in enumerate(arrays):
        for unit in channels.units.of(ids).tolist():
            made_by[unit].append(number)
    together: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for unit, numbers in made_by.items():
        together[tuple(numbers)].append(unit)
    kernels = layouts(model, channels)
    found = []
    for places, units in together.items():
        makers = [channels.sources[n].layer for n in places if n < len(channels.sources)]
        layers = tuple(dict.fromkeys(layer for layer in makers if layer in settings))
        free = np.array([unit for unit in sorted(units) if unit not in reasons], np.intp)
        if len(units) < 2 or not len(free) or not layers:
            continue
        own, first, size = _settings([settings[layer] for layer in layers]), units[0], len(units)
        known = kernels.get(first, [])
        multiple = math.lcm(*(layout.multiple(first, own.round_to) for layout in known))
        least = max([1, size - len(free), *(layout.least(size, own.min_channels) for layout in known)])
        kinds = max([1, *(len(layout.kinds) for layout in known)])
        found.append(ChannelGroup(free, layers, size, multiple, min(least, size), kinds, own))
    return found


def _settings(of_layers: "Sequence[PruneStructured]") -> "PruneStructured":
    """The settings of the first layer with a rule of its own, else those that hold for all."""
    return next((settings for settings in of_layers if not settings.rules), of_layers[0])
