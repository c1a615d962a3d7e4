"""Marks: what a recipe writes in place of a value that is to be searched.

`{search: [low, high]}` is a range of numbers, with `log: true` on a logarithmic scale, with `step: x` only every x;
`{search: [a, b, c]}` are choices, as two are for a field that takes words or truth values; `{search: true}` is all that
suits the field. `groups: N` or `groups: each` lets the value differ between groups of layers.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from kcompress.errors import UsageError
from kcompress.fields import kinds_of, short, suggest, tunable_of
from kcompress.recipe import SEARCH

KEYS = (SEARCH, "log", "step", "groups")
EACH = "each"
Value = bool | int | float | str


@dataclass(frozen=True)
class Mark:
    """What to choose from: `choices`, or where there are none the numbers from `low` to `high`."""

    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    integer: bool = False
    """Whether only whole numbers are meant."""
    log: bool = False
    step: float | None = None
    groups: int | Literal["each"] | None = None

    @property
    def ends(self) -> tuple[Value, ...]:
        """All choices, or both ends of the range."""
        return self.choices or (self.number(self.low), self.number(self.high))

    @property
    def count(self) -> float:
        """How many values there are to choose from; infinite for a range of any numbers."""
        if self.choices:
            return len(self.choices)
        step = self.step or (1 if self.integer else 0)
        return math.floor((self.high - self.low) / step + 1e-9) + 1 if step else math.inf

    @property
    def middle(self) -> Value:
        """The choice or number in the middle."""
        return self.choices[len(self.choices) // 2] if self.choices else self.at(0.5)

    def at(self, share: float) -> Value:
        """The value that is so far from the low end to the high end; of choices that are no numbers, the middle one."""
        if self.choices:
            if any(isinstance(value, (bool, str)) for value in self.choices):
                return self.middle
            return sorted(self.choices, key=float)[round(share * (len(self.choices) - 1))]
        if self.log:
            return self.number(self.low * (self.high / self.low) ** share)
        return self.number(self.low + (self.high - self.low) * share)

    def number(self, value: float) -> int | float:
        """A number as a recipe has it: with four digits, whole where that is meant, on a step where there is one."""
        if self.step is not None:
            value = self.low + round((value - self.low) / self.step) * self.step
        value = min(max(float(f"{value:.4g}"), self.low), self.high)
        return round(value) if self.integer else float(value)

    def points(self, count: int) -> tuple[Value, ...]:
        """All choices, or so many numbers of the range, evenly spaced, both ends among them."""
        if self.choices or count < 2:
            return self.choices or (self.middle,)
        return tuple(dict.fromkeys(self.at(number / (count - 1)) for number in range(count)))


def parse(owner: str, field: str, info: FieldInfo, given: dict[str, Any]) -> Mark:
    """Read a mark; UsageError with one line, in the name of `owner`, if it can't be one for this field."""
    at = f"{owner}: {field}={short(given)}"
    for key in given:
        if key not in KEYS:
            raise UsageError(f"{at}: no key '{key}' in a mark; {suggest(str(key), KEYS)}")
    kinds = kinds_of(info.annotation)
    groups = _groups(at, given.get("groups"))
    search = given[SEARCH]
    words = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    words += [False, True] if bool in kinds else []
    if search is True:
        if words:
            return Mark(tuple(words), groups=groups)
        own = tunable_of(info)
        if own is None:
            raise UsageError(f"{at}: the field has no range of its own; give one, {{search: [low, high]}}, or choices")
        search = own.low, own.high
    if not isinstance(search, (list, tuple)) or len(search) < 2:
        raise UsageError(f"{at}: nothing to choose from; give {{search: [low, high]}} or three or more choices")
    if float in kinds or int in kinds:
        search = [_read(value) for value in search]
    if wrong := [value for value in search if not isinstance(value, (bool, int, float, str))]:
        raise UsageError(f"{at}: {short(wrong[0])} is no number, text or truth value; give choices that are")
    ranged = len(search) == 2 and not words and all(_is_number(value) for value in search)
    if not ranged:
        if len(set(search)) < len(search):
            raise UsageError(f"{at}: a choice is given twice; give each once")
        if {"log", "step"} & given.keys():
            raise UsageError(f"{at}: log and step go with a range of numbers; give {{search: [low, high]}}")
        return Mark(tuple(search), groups=groups)
    return _range(at, search, given, int in kinds and float not in kinds, groups)


def _range(at: str, search: Any, given: dict[str, Any], integer: bool, groups: Any) -> Mark:
    low, high = search
    log, step = given.get("log", False), given.get("step")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{at}: {low} is not below {high}; give the lower end first")
    if integer and (low != int(low) or high != int(high)):
        raise UsageError(f"{at}: the field takes whole numbers; give such ends")
    if not isinstance(log, bool) or (log and (low <= 0 or step is not None)):
        raise UsageError(f"{at}: log is true or false, and goes with ends above 0 and without step")
    if step is not None and not (_is_number(step) and 0 < step <= high - low and (not integer or step == int(step))):
        kind = "a whole number" if integer else "a number"
        raise UsageError(
            f"{at}: step={short(step)} is not {kind} in (0, {high - low:g}]; give how far apart values are"
        )
    if step is not None:
        high = low + math.floor((high - low) / step + 1e-9) * step
    return Mark((), low, high, integer, log, step, groups)


def _groups(at: str, given: Any) -> Any:
    if given in (None, EACH) or (isinstance(given, int) and not isinstance(given, bool) and given >= 1):
        return given
    raise UsageError(f"{at}: groups={short(given)} is no number of groups; give one, such as 4, or each")


def _read(value: Any) -> Any:
    """A number that YAML takes for text, such as 1e-4; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
