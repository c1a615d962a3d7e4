"""What became of each layer in structured pruning, and why channels stay."""

from collections.abc import Sequence
from typing import Any

from kcompress.channels.channels import Channels
from kcompress.channels.cut import Dropped
from kcompress.model.view import Node, nodes
from kcompress.passes.base import Change, Skip
from kcompress.passes.prune._changes import describe_cut
from kcompress.passes.prune._groups import ChannelGroup
from kcompress.passes.selection import Selection

NAMED = 4  # layers that a message names


def account(
    model: Any, found: Channels, dropped: Dropped, selection: Selection, reasons: dict[int, str]
) -> tuple[tuple[Change, ...], tuple[Skip, ...]]:
    """What became of every layer; a layer of which only inputs were cut says why the rest of it stays."""
    left: dict[str, Skip] = {skip.layer: skip for skip in selection.skipped}
    changes: list[Change] = []
    for node in nodes(model):
        if node.name not in selection.targets:
            continue
        skip = left.pop(node.name, None)
        if skip is None:
            followed = id(node.layer) not in found.unknown and found.follows(node)
            skip = Skip(node.name, reason_of(found, node, reasons), expected=followed)
        detail = describe_cut(found, node, dropped)
        if detail is None:
            left[node.name] = skip
        elif dropped[found.own(node)].any():
            changes.append(Change(node.name, detail))
        else:
            changes.append(Change(node.name, f"{detail}; the rest stays: {skip.reason}"))
    return tuple(changes), tuple(left.values())


def reason_of(found: Channels, node: Node, reasons: dict[int, str]) -> str:
    """Why a layer was not cut."""
    if id(node.layer) in found.unknown:
        return f"its channels can't be followed: {found.unknown[id(node.layer)]}"
    own = found.own(node)
    if not len(own):
        return "what it makes has to fit what stays" if found.follows(node) else "it is called inside another layer"
    why = [reasons[int(unit)] for unit in own if int(unit) in reasons]
    if len(why) == len(own):
        return why[0]
    return "it has one channel" if len(own) == 1 else "none of its channels ranks low enough to go"


def at_their_least(every: Sequence[ChannelGroup], dropped: Dropped) -> str:
    """Why no more could go."""
    least = [" + ".join(group.layers) for group in every if dropped[group.units].sum() >= group.most]
    return f"{listed(list(dict.fromkeys(least)))} at the least number of channels"


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
