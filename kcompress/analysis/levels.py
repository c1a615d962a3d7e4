"""Which fields of which passes are tried, and at which levels, from mild to severe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kcompress.errors import UsageError
from kcompress.fields import suggest, tunable_of
from kcompress.passes import find

if TYPE_CHECKING:
    from kcompress.passes.base import Pass

LEVELS: Mapping[str, Sequence[float]] = {
    "prune.magnitude:sparsity": (0.3, 0.5, 0.7, 0.8, 0.9, 0.95),
    "prune.structured:ratio": (0.1, 0.25, 0.5, 0.75),
    "quantize.weights:bits": (8, 6, 5, 4, 3, 2),
}
"""The levels that are tried by default."""


@dataclass(frozen=True)
class Sweep:
    """One field of a pass, and the pass with each of its levels, from mild to severe."""

    pass_name: str
    field: str
    passes: tuple[tuple[float, "Pass"], ...]

    @property
    def name(self) -> str:
        """`quantize.weights:bits`."""
        return f"{self.pass_name}:{self.field}"


def parse(texts: Sequence[str]) -> dict[str, list[float]] | None:
    """`PASS:FIELD=LEVEL,LEVEL` as the field and its levels; None where there are no texts.

    >>> parse(["quantize.weights:bits=8,4"])
    {'quantize.weights:bits': [8.0, 4.0]}
    """
    found: dict[str, list[float]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        try:
            found[name.strip()] = [float(value) for value in values.split(",")]
        except ValueError:
            equals = ""
        if not equals:
            raise UsageError(f"--levels {text}: is not PASS:FIELD=LEVEL,LEVEL; write {_example()}")
    return found or None


def sweeps(fields: Mapping[str, Sequence[float]] | None) -> list[Sweep]:
    """The passes to run for each field; UsageError in one line for a field or a level that cannot be."""
    return [_sweep(name, levels) for name, levels in (LEVELS if fields is None else fields).items()]


def _sweep(name: str, levels: Sequence[float]) -> Sweep:
    pass_name, colon, field = name.partition(":")
    kind = find(pass_name)
    varied = {known: about for known, info in kind.model_fields.items() if (about := tunable_of(info)) is not None}
    able = tuple(known for known, about in varied.items() if not about.whole_model)
    if not able:
        raise UsageError(
            f"{pass_name}: has no field whose effect on one layer alone can be measured; give another pass, such as "
            f"{_example()}"
        )
    if not colon:
        raise UsageError(f"{name}: says no field; write {pass_name}:{able[0]}")
    if field in varied and varied[field].whole_model:
        raise UsageError(f"{name}: is for the whole model; give {pass_name}:{able[0]} to try each layer alone")
    if field not in able:
        raise UsageError(f"{name}: no field of {pass_name} that can be tried; {suggest(field, able)}")
    if not levels or not all(map(math.isfinite, levels)):
        raise UsageError(f"{name}: levels are one number or more; write them behind it, such as {_example()}")
    ordered = sorted(set(map(float, levels)), reverse=varied[field].severe == "low")
    return Sweep(pass_name, field, tuple((value, kind(**{field: _plain(value)})) for value in ordered))


def _plain(value: float) -> float | int:
    """An integer for a float without a fraction, as messages show it."""
    return int(value) if value.is_integer() else value


def _example() -> str:
    return "--levels prune.magnitude:sparsity=0.5,0.9"
