"""Products of tensors with each other: the axes that are summed over are united, and no weight reads them."""

from collections.abc import Sequence

from kcompress.channels.rules.visit import Rule, Visit
from kcompress.channels.trace import Axes, Axis

MULTIPLIES = "multiplies it with what stays"


def summed(v: Visit, one: Axis, other: Axis) -> None:
    """Two axes that are summed over together."""
    found = v.together([one, other], MULTIPLIES)
    if found is not None:
        v.trace.mixed.append(found)


def matmul(v: Visit) -> list[Axes]:
    if len(v.given) != 2 or min(t.rank for t in v.given) < 2:
        return v.unknown(f"{v.label} {MULTIPLIES}")
    one, other = v.given
    rank = max(one.rank, other.rank)
    letters = "abcdefghijklmnopqrstuvwxyz"[: rank - 2]
    left, right = (letters[rank - t.rank :] for t in v.given)
    return _einsum(v, [f"{left}yz", f"{right}zx"], f"{letters}yx")


def einsum(v: Visit) -> list[Axes]:
    subscripts = v.layer.subscripts.replace(" ", "")
    if "." in subscripts or "->" not in subscripts or len(v.given) != subscripts.count(",") + 1:
        return v.unknown(f"{v.label} has the subscripts {subscripts}")
    operands, output = subscripts.split("->")
    return _einsum(v, operands.split(","), output)


def _einsum(v: Visit, operands: Sequence[str], output: str) -> list[Axes]:
    """Axes of one label are the same; one of length 1 is spread."""
    met: dict[str, list[Axis]] = {}
    for labels, tensor in zip(operands, v.given, strict=True):
        for label, size, axis in zip(labels, tensor.shape, tensor.axes, strict=True):
            met.setdefault(label, []).extend([axis] if size != 1 or axis is not None else [])
    made: dict[str, Axis] = {}
    for label, axes in met.items():
        found = made[label] = v.together(axes, MULTIPLIES)
        if label not in output and len(axes) == 1:
            v.trace.pin(found, f"{v.label} sums over it")
        elif label not in output and found is not None:
            v.trace.mixed.append(found)
    return [tuple(made.get(label) for label in output)]


def dot(v: Visit) -> list[Axes]:
    """The layer Dot: a product over one axis of each of two inputs, batch by batch."""
    one, other = v.given
    axes = v.layer.axes
    first, second = (axes, axes) if isinstance(axes, int) else axes
    if v.layer.normalize or not all(isinstance(axis, int) for axis in (first, second)):
        return v.unknown(f"{v.label} normalizes it or sums over several axes")
    first, second = first % one.rank, second % other.rank
    summed(v, one.axes[first], other.axes[second])
    left = [axis for n, axis in enumerate(one.axes) if n not in (0, first)]
    right = [axis for n, axis in enumerate(other.axes) if n not in (0, second)]
    made = (None, *left, *right)
    return [made if len(made) == len(v.shapes[0]) else (None,) * len(v.shapes[0])]


LAYERS: dict[str, Rule] = {"Dot": dot}
OPERATIONS: dict[str, Rule] = {"Matmul": matmul, "Einsum": einsum}
