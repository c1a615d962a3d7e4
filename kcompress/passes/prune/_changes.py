"""In a few words, what dropping channels does to a layer, such as `filters 64 to 40, inputs 32 to 20`."""

import numpy as np

from kcompress.graph.channels import Channels, Slices
from kcompress.graph.cut import Dropped
from kcompress.graph.identities import Ids
from kcompress.graph.view import Node


def described(channels: Channels, node: Node, dropped: Dropped) -> str | None:
    """How many channels the layer had and has of each kind, and how many it reads; None if all of them stay.

    Inputs are counted in one kernel: for a grouped convolution those of one group.
    """
    made = {source.what: source.ids for source in channels.sources if source.layer == node.name}
    counts = {what: (len(ids), channels.kept(ids, dropped)) for what, ids in made.items()}
    for weight in node.kernels:
        slices = channels.slices.get(id(weight.variable))
        if slices is not None:
            own = list(made.values())
            counts.setdefault("inputs" if own else "channels", _read(channels, slices, own, dropped))
    told = [f"{what} {before} to {after}" for what, (before, after) in counts.items() if before != after]
    return ", ".join(told) or None


def _read(channels: Channels, slices: Slices, own: list[Ids], dropped: Dropped) -> tuple[int, int]:
    """How many positions there are, and stay, along the axes that are not the layer's own channels."""
    axes = [axis for axis in slices.axes if axis is not None]
    if own:  # where a kernel has none of its own, as in a depthwise convolution, its channels are those of its input
        axes = [axis for axis in axes if not any(_made_of(axis, ids) for ids in own)]
    before, after = (len(axis) for axis in axes), (channels.kept(axis, dropped) for axis in axes)
    return int(np.prod(list(before))), int(np.prod(list(after)))


def _made_of(axis: Ids, ids: Ids) -> bool:
    """Whether an axis holds these channels, once or for each of several gates."""
    return len(axis) % len(ids) == 0 and np.array_equal(axis, np.tile(ids, len(axis) // len(ids)))
