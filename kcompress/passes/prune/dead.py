"""Remove the channels that make no difference, which is what turns zeros into a smaller and faster model.

A channel goes if every weight that reads it is zero, or would make something that goes itself; or if it always is the
same number c, whatever the input: W x + b with x = c in places is W' x' + (W c + b).
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from kcompress.channels.channels import channels
from kcompress.channels.constants import constants
from kcompress.channels.cut import Dropped, cut
from kcompress.channels.identities import Ids
from kcompress.channels.liveness import Read, emptied, live, read_for, reads, single
from kcompress.keras_internals import layers_of
from kcompress.model.rebuild import copy
from kcompress.model.view import Node, nodes
from kcompress.passes.base import Change, Context, Pass, PassResult, Skip
from kcompress.passes.prune._changes import describe_cut
from kcompress.passes.prune._constants import fold, readings, state_tables
from kcompress.passes.prune._formats import sliced_formats
from kcompress.passes.prune._protected import protected, unscalable
from kcompress.passes.selection import Selection
from kcompress.quantization.plan import QuantPlan

MULTIPLIED = "it is multiplied with another one, for which there is no weight to tell whether it matters"


class PruneDead(Pass):
    """Remove channels that nothing reads or that are constant; outputs are the same.

    Run it after passes that make zeros. Works on every layer whose channels can be followed: Dense, EinsumDense,
    Embedding, convolutions, recurrent layers and attention. A constant goes into the bias of the layer that reads it,
    one being made if need be, unless that layer pads with zeros. A layer that is left alone keeps its own channels; of
    those that it reads it may lose some.
    """

    def concerns(self, node: Node, named: bool) -> bool | str:
        if node.is_custom:
            return "a custom layer, whose channels are not known" if named and node.weights else False
        return bool(node.kernels)

    def run(self, model: Any, ctx: Context) -> PassResult:
        selection = self.select(model)
        search = _Search(model, ctx.plan, selection)
        dropped, folded = search.dead(), dict[str, int]()
        if not dropped.any():
            new, formats = copy(model), {}
        else:
            shorter = cut(model, search.channels, dropped)
            new, folded = fold(shorter, search.channels, search.readings, dropped)
            formats = dict(sliced_formats(model, search.channels, dropped, ctx.plan))
        by_name = {node.name: node for node in nodes(model)}
        left_alone = {skip.layer: skip for skip in selection.skipped}
        changes: list[Change] = []
        skipped: list[Skip] = []
        for name in [*(node.name for node, _ in selection.chosen), *left_alone]:
            detail = describe_cut(search.channels, by_name[name], dropped) if name in by_name else None
            if detail is None:
                skipped.append(left_alone.get(name) or Skip(name, search.reason(by_name[name])))
            else:
                constant = f", {folded[name]:,} of them constant" if name in folded else ""
                kept = "; its own channels are left alone" if name in left_alone else ""
                changes.append(Change(name, detail + constant + kept))
        return PassResult(new, tuple(changes), tuple(skipped), formats)


class _Search:
    """What is dead in a model, of which the selected layers may lose channels of their own."""

    def __init__(self, model: Any, plan: QuantPlan, selection: Selection) -> None:
        self.channels = channels(model)
        self.units = self.channels.units
        self.constants = constants(self.channels)
        self.readings = readings(self.channels, self.constants, plan)
        self.stays = protected(model, self.channels, selection)
        self.fixed = unscalable(model, self.channels, plan)
        tables = [*state_tables(self.channels, self.constants)]
        tables += [table for reading in self.readings for table in reading.tables()]
        self.counted = reads(self.channels, dict(tables))
        for unit in (unit for ids in self.channels.mixed for unit in self.units.of(ids).tolist()):
            self.stays.setdefault(unit, MULTIPLIED)

    def dead(self) -> Dropped:
        """What can go. Afterwards `fixed` holds what could have gone but for the grid of a weight."""
        dropped = self._dead([*self.stays])
        gone = {unit: why for unit, why in self.fixed.items() if dropped[unit]}
        if gone:
            dropped = self._dead([*self.stays, *self.fixed])
        self.fixed = gone
        return dropped

    def _dead(self, stays: list[int]) -> Dropped:
        """Where all channels of a kind are dead, one is left.

        If that is a constant which something reads, it has to keep its number, so that what makes it stays too.
        """
        alive = single(self.channels)
        alive[stays] = True
        while True:
            alive = live(self.channels, self.counted, alive)
            spared = emptied(self.channels, ~alive)
            needed = spared & read_for(self.channels, self.uncounted, alive) if spared.any() else spared
            if not needed.any():
                return ~(alive | spared)
            alive[np.flatnonzero(needed)[-1]] = True  # the last made first, for it may need another one there

    @cached_property
    def uncounted(self) -> list[Read]:
        """All reads, also of constants."""
        return reads(self.channels, {})

    def reason(self, node: Node) -> str:
        """Why a layer loses nothing."""
        flow = self.channels.flow
        if not self.channels.follows(node):
            around = (call for call in flow.calls if call.name and node.layer in layers_of(call.operation))
            call = next(around, None)
            return f"it is not known what {call.label} does to channels" if call is not None else "nothing calls it"
        own = set(self.channels.own(node).tolist())
        free = own - set(self.stays)
        if own & set(self.fixed):
            return self.fixed[min(own & set(self.fixed))]
        for ids, why in self._in_the_way():
            constant = free & set(self.units.of(ids).tolist())
            if constant:
                return f"{len(constant):,} of its channels {'are' if len(constant) > 1 else 'is'} constant, but {why}"
        return self.stays[min(own)] if own and not free else "no channel of it is dead"

    def _in_the_way(self) -> Iterator[tuple[Ids, str]]:
        """Identities of constant channels, and why they can't be folded into what reads them."""
        yield from self.constants.lost
        for reading in self.readings:
            if reading.given is not None and reading.problem is not None:
                yield reading.given[np.nan_to_num(reading.numbers) != 0], reading.problem
