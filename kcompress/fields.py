"""Settings: how a pass declares a field, and how a wrong value is explained in one line.

One declaration gives the command-line field, the recipe's JSON Schema, the search range and the documentation.
"""

import difflib
import types
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from kcompress.errors import UsageError


@dataclass(frozen=True)
class Tunable:
    """What a field says about being varied. Pydantic calls it to put the range into the JSON Schema."""

    low: float
    high: float
    severe: Literal["low", "high"] | None = None
    """The end of the range that changes the model most; None where that can't be said."""
    whole_model: bool = False
    """Whether the value is for the whole model, so that it can't be tried on one layer alone."""
    weight_bits: bool = False
    """Whether the value is the number of bits that a weight is stored in."""

    def __call__(self, schema: dict[str, Any]) -> None:
        schema["tunable"] = [self.low, self.high]


def tunable(
    default: Any,
    low: float,
    high: float,
    *,
    severe: Literal["low", "high"] | None = None,
    whole_model: bool = False,
    weight_bits: bool = False,
    **constraints: Any,
) -> Any:
    """A field that a search may vary between `low` and `high`; `constraints` (gt, ge, lt, le) bound what is allowed.

    The other arguments are those of `Tunable`.
    """
    about = Tunable(low, high, severe, whole_model, weight_bits)
    return Field(default, json_schema_extra=about, **constraints)


def tunable_of(info: FieldInfo) -> Tunable | None:
    """What a field says about being varied; None for one that a search leaves alone unless it is given values."""
    return info.json_schema_extra if isinstance(info.json_schema_extra, Tunable) else None


def explain(owner: str, model: type[BaseModel], error: ValidationError) -> UsageError:
    """The first problem of a validation error as a UsageError: what was received, what is allowed, what to do."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return UsageError(f"{owner}: {first['ctx']['error']}")
    name, *inside = first["loc"] or ("",)
    name = str(name)
    if len(inside) > 1:  # a field of an entry of a list, such as ("rules", 0, "layers")
        owner, name = f"{owner}: {name.removesuffix('s')} {int(inside[0]) + 1}", str(inside[1])
        model = next(kind for kind in get_args(model.model_fields[str(first["loc"][0])].annotation))
    if first["type"] == "extra_forbidden":
        return UsageError(f"{owner}: no field '{name}'; {suggest(name, tuple(model.model_fields))}")
    info = model.model_fields[name]
    if first["type"] == "missing":
        return UsageError(f"{owner}: '{name}' is missing; give {advice(info)}")
    return UsageError(f"{owner}: {name}={short(first['input'])} is not {allowed(info)}; give {advice(info)}")


def short(value: Any) -> str:
    """A value as it was written, cut where it is long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def allowed(info: FieldInfo) -> str:
    """What a field accepts, in words: `in [0, 1)`, `one of per_layer, global`, `true or false`."""
    kinds = kinds_of(info.annotation)
    low, high = "(-inf", "inf)"
    for bound in info.metadata:
        low = f"[{bound.ge:g}" if hasattr(bound, "ge") else f"({bound.gt:g}" if hasattr(bound, "gt") else low
        high = f"{bound.le:g}]" if hasattr(bound, "le") else f"{bound.lt:g})" if hasattr(bound, "lt") else high
    if named := choices(info):
        return f"one of {', '.join(named)}"
    if bool in kinds:
        return "true or false"
    if int in kinds and float not in kinds:
        return "a whole number" if low == "(-inf" else f"a whole number in {low}, {high}"
    if float in kinds:
        return "a number" if (low, high) == ("(-inf", "inf)") else f"in {low}, {high}"
    if str in kinds:
        return "text or a list of texts"
    if any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds):
        return "a list of mappings"
    return "what this field takes"


def choices(info: FieldInfo) -> tuple[str, ...]:
    """The values that a field takes, where it takes only some; none otherwise."""
    for kind in kinds_of(info.annotation):
        if get_origin(kind) is Literal:
            return tuple(map(str, get_args(kind)))
    return ()


def kinds_of(annotation: Any) -> tuple[Any, ...]:
    """The types that an annotation allows; those of its entries where it is a tuple."""
    if get_origin(annotation) is tuple:
        return tuple(part for part in get_args(annotation) if part is not Ellipsis)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(part for part in get_args(annotation) if part is not type(None))
    return (annotation,)


def advice(info: FieldInfo) -> str:
    text = (info.description or "another value").split(". ")[0].rstrip(".")
    return " ".join((text[0].lower() + text[1:]).split())


def suggest(given: str, allowed: tuple[str, ...]) -> str:
    """`did you mean 'x'?`, or the list of what is allowed where nothing is near."""
    tails = {name.split(".")[-1]: name for name in allowed}
    near = difflib.get_close_matches(given, [*allowed, *tails], n=1)
    if near:
        return f"did you mean '{tails.get(near[0], near[0])}'?"
    return f"allowed: {', '.join(allowed)}"
