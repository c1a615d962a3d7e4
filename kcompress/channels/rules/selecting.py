"""Layers and operations that put tensors together along an axis, or take parts of one."""

from typing import Any

import numpy as np

from kcompress.channels.rules.visit import STAYS, Rule, Visit
from kcompress.channels.trace import Axes, Axis, Size


def concatenate(v: Visit) -> list[Axes]:
    """Along its axis the identities come one after the other; along the others they are the same."""
    rank = v.given[0].rank
    along = v.layer.axis % rank
    made: list[Axis] = []
    for number in range(rank):
        axes = [tensor.axes[number] for tensor in v.given]
        if all(axis is None for axis in axes):
            made.append(None)
        elif number == along:
            sizes = [tensor.shape[number] for tensor in v.given]
            if None in sizes:
                v.pin(axes, f"{v.label} joins it with an axis of unknown length")
                made.append(None)
                continue
            why = f"{v.label} puts it beside what stays"
            parts = [v.trace.fixed(s or 0, why) if a is None else a for s, a in zip(sizes, axes, strict=True)]
            made.append(np.concatenate(parts))
        else:
            made.append(v.together(axes, STAYS))
    return [tuple(made)]


def stack(v: Visit) -> list[Axes]:
    made = [v.together(axes, STAYS) for axes in zip(*(tensor.axes for tensor in v.given), strict=True)]
    made.insert(v.layer.axis % (len(made) + 1), None)
    return [tuple(made)]


def split(v: Visit) -> list[Axes]:
    """Parts of an axis; they may become unequal, so the setting becomes a list of where each begins."""
    (given,) = v.given
    along = v.layer.axis % given.rank
    ids = given.axes[along]
    if ids is None:
        v.trace.keep(v.layer, f"{v.label} splits what stays")
        return [given.axes for _ in v.shapes]
    ends = np.cumsum([shape[along] or 0 for shape in v.shapes])
    v.trace.set(v.layer, "indices_or_sections", [Size(ids[:end]) for end in ends[:-1]])
    parts = np.split(ids, ends[:-1])
    return [tuple(part if n == along else axis for n, axis in enumerate(given.axes)) for part in parts]


def item(v: Visit) -> list[Axes]:
    """Indexing with whole numbers, slices without steps, ellipsis and new axes."""
    given, key = v.given[0], v.call.args[1] if len(v.call.args) > 1 else v.call.kwargs.get("key")
    keys = list(key) if isinstance(key, tuple) else [key]
    if not all(k is None or k is Ellipsis or isinstance(k, int) or _is_fixed(k) for k in keys) or len(v.given) > 1:
        return v.unknown(f"{v.label} picks from it by what is computed")
    rest = given.rank - sum(k is not None and k is not Ellipsis for k in keys)
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    at, made, written = 0, list[Axis](), list[Any]()
    for k in keys:
        if k is None:
            made.append(None)
            written.append(k)
        elif k is Ellipsis:
            made += given.axes[at : at + rest]
            written.append(k)
            at += rest
        else:
            ids = given.axes[at]
            if isinstance(k, int):
                v.trace.pin(ids, f"{v.label} picks one of it")
            elif ids is not None and k != slice(None):
                if k.step not in (None, 1):
                    return v.unknown(f"{v.label} takes it in steps")
                start, stop, _ = k.indices(len(ids))
                k = slice(Size(ids[:start]), Size(ids[: max(start, stop)]))
                ids = ids[start:stop]
            written.append(k)
            made += [] if isinstance(k, int) else [ids]
            at += 1
    v.trace.set(v.layer, ("args", 1), tuple(written))
    return [tuple(made)]


def _is_fixed(key: Any) -> bool:
    """Whether it is a slice between whole numbers."""
    ends = (key.start, key.stop, key.step) if isinstance(key, slice) else (key,)
    return isinstance(key, slice) and all(end is None or isinstance(end, int) for end in ends)


def tile(v: Visit) -> list[Axes]:
    given, repeats = v.given[0], tuple(np.atleast_1d(v.layer.repeats).tolist())
    if len(repeats) > given.rank:
        return v.unknown(f"{v.label} repeats it along new axes")
    repeats = (1,) * (given.rank - len(repeats)) + repeats
    return [tuple(None if a is None else np.tile(a, n) for a, n in zip(given.axes, repeats, strict=True))]


def repeat(v: Visit) -> list[Axes]:
    given, count, along = v.given[0], v.layer.repeats, v.layer.axis
    if along is None or not isinstance(count, int):
        return v.unknown(f"{v.label} repeats it in another way than all alike along an axis")
    return [
        tuple(np.repeat(a, count) if a is not None and n == along % given.rank else a for n, a in enumerate(given.axes))
    ]


def flip(v: Visit) -> list[Axes]:
    given, along = v.given[0], v.layer.axis
    over = range(given.rank) if along is None else [a % given.rank for a in np.atleast_1d(along).tolist()]
    return [tuple(a[::-1] if a is not None and n in over else a for n, a in enumerate(given.axes))]


def pad(v: Visit) -> list[Axes]:
    """What is added at either end has identities of its own, so that it can go, too."""
    given, width = v.given[0], np.broadcast_to(np.asarray(v.layer.pad_width), (v.given[0].rank, 2))
    if v.layer.mode != "constant" or len(v.given) > 1:
        return v.unknown(f"{v.label} pads it with what it has")
    made, written = list[Axis](), list[Any]()
    for ids, (before, after) in zip(given.axes, width.tolist(), strict=True):
        if ids is None:
            made.append(None)
            written.append((before, after))
        else:
            ends = v.trace.identities.new(before), v.trace.identities.new(after)
            made.append(np.concatenate([ends[0], ids, ends[1]]))
            written.append((Size(ends[0]), Size(ends[1])))
    v.trace.set(v.layer, "pad_width", tuple(written))
    return [tuple(made)]


def unstack(v: Visit) -> list[Axes]:
    given, at = v.given[0], v.layer.axis % v.given[0].rank
    v.trace.pin(given.axes[at], f"{v.label} takes it apart")
    return [tuple(axis for number, axis in enumerate(given.axes) if number != at) for _ in v.shapes]


def broadcast_to(v: Visit) -> list[Axes]:
    given, wanted = v.given[0], list(v.layer.shape)
    new = len(wanted) - given.rank
    axes: Axes = (*(None,) * new, *given.axes)
    sizes = zip(wanted, (*(1,) * new, *given.shape), axes, strict=True)
    made = tuple(axis if size == length else None for size, length, axis in sizes)
    v.trace.set(v.layer, "shape", tuple(n if a is None else Size(a) for n, a in zip(wanted, made, strict=True)))
    return [made]


LAYERS: dict[str, Rule] = {"Concatenate": concatenate}
OPERATIONS: dict[str, Rule] = {
    "Concatenate": concatenate,
    "Stack": stack,
    "Split": split,
    "GetItem": item,
    "Tile": tile,
    "Repeat": repeat,
    "Flip": flip,
    "Pad": pad,
    "Unstack": unstack,
    "BroadcastTo": broadcast_to,
}
