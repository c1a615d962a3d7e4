"""In a few words, what dropping channels does to a layer, such as `filters 64 to 40, inputs 32 to 20`."""

from math import prod

import numpy as np

from kcompress.channels.channels import Channels
from kcompress.channels.cut import Dropped
from kcompress.channels.identities import Ids
from kcompress.channels.trace import Slices
from kcompress.model.view import Node


def describe_cut(channels: Channels, node: Node, dropped: Dropped) -> str | None:
    """How many channels the layer had and has of each kind, and how many it reads; None if all of them stay.

    Inputs are counted in one kernel: for a grouped convolution those of one group.
    """
    made = {source.what: source.ids for source in channels.sources_of.get(node.name, ())}
    counts = {what: (len(ids), channels.kept(ids, dropped)) for what, ids in made.items()}
    for weight in node.kernels:
        slices = channels.slices.get(id(weight.variable))
        if slices is not None:
            what = "inputs" if made or slices.reads else "channels"  # a depthwise convolution passes its own on
            counts.setdefault(what, _others(channels, slices, list(made.values()), dropped))
    parts = [f"{what} {before} to {after}" for what, (before, after) in counts.items() if before != after]
    return ", ".join(parts) or None


def _others(channels: Channels, slices: Slices, own: list[Ids], dropped: Dropped) -> tuple[int, int]:
    """How many positions there are, and stay, along the axes that a layer reads, or else that it does not make."""
    read = sorted(slices.reads) or range(len(slices.axes))
    axes = [ids for n in read if (ids := slices.axes[n]) is not None and not any(_made_of(ids, each) for each in own)]
    return prod(len(ids) for ids in axes), prod(channels.kept(ids, dropped) for ids in axes)


def _made_of(axis: Ids, ids: Ids) -> bool:
    """Whether an axis holds these channels, once or for each of several gates."""
    return len(axis) % len(ids) == 0 and np.array_equal(axis, np.tile(ids, len(axis) // len(ids)))
