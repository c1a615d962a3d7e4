"""Settings of a verb: declared once as fields of a frozen model, from which command line, messages and help are made.

    class Budgets(Settings):
        max_drop: float | None = setting(None, metavar="POINTS", ge=0, le=100)
        '''Points of quality that may be lost, such as 1.0.'''

gives the option `--max-drop POINTS`, its help, its line in the docstrings of functions that take it, and the message
`--max-drop 200 is not in [0, 100]; give points of quality that may be lost, such as 1.0`. So the text is a noun phrase.
"""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kcompress.errors import UsageError
from kcompress.fields import advice, allowed, choices, short, suggest

Function = TypeVar("Function", bound=Callable[..., Any])
PLACE = "{settings}"
"""Where a docstring has the table of settings."""


def setting(
    default: Any, *, metavar: str = "", option: str = "", unset: str = "", cli: bool = True, **constraints: Any
) -> Any:
    """A field of Settings.

    Args:
        default: its value where none is given.
        metavar: what stands for the value in the help, such as POINTS.
        option: the name of the option; that of the field without it.
        unset: what holds where it is not given, such as `the test split of --data`.
        cli: whether the command line has it.
        constraints: ge, gt, le, lt, allow_inf_nan.
    """
    extra: dict[str, Any] = {"metavar": metavar, "option": option, "unset": unset, "cli": cli}
    return Field(default, json_schema_extra=extra, **constraints)


class Settings(BaseModel):
    """Base of the settings of verbs: keyword-only, frozen, validated; UsageError with one line for a wrong value."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True, validate_default=False
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self._explained(error) from None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Those of `values`, such as the arguments of a function, that are declared here."""
        return cls(**{name: values[name] for name in cls.model_fields if name in values})

    @classmethod
    def option(cls, name: str) -> str:
        """The option of a field, such as `--max-drop`."""
        return str(extra_of(cls, name)["option"] or f"--{name.replace('_', '-')}")

    @classmethod
    def _explained(cls, error: ValidationError) -> UsageError:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if name not in cls.model_fields:
            return UsageError(str(first.get("ctx", {}).get("error", f"no setting '{name}'")))
        if first["type"] == "value_error":
            return UsageError(f"{cls.option(name)}: {first['ctx']['error']}")
        info = cls.model_fields[name]
        given = short(first["input"])
        near = suggest(given, choices(info))
        hint = near if near.startswith("did you mean") else f"give {advice(info)}"
        return UsageError(f"{cls.option(name)} {given} is not {allowed(info)}; {hint}")


def extra_of(settings: type[Settings], name: str) -> dict[str, Any]:
    """What `setting` was told of a field."""
    extra = settings.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {"metavar": "", "option": "", "unset": "", "cli": True}


def documented(*settings: type[Settings]) -> Callable[[Function], Function]:
    """Put the table of settings into a function's docstring, in the place of `{settings}`."""

    def fill(function: Function) -> Function:
        text = inspect.getdoc(function) or ""
        indent = next((line.partition(PLACE)[0] for line in text.splitlines() if PLACE in line), "")
        entries = [line for each in settings for line in _entries(each)]
        function.__doc__ = text.replace(f"{indent}{PLACE}", textwrap.indent("\n".join(entries), indent))
        return function

    return fill


def _entries(settings: type[Settings]) -> list[str]:
    """`max_drop: points of quality that may be lost, such as 1.0.`, a line for each field."""
    found = []
    for name, info in settings.model_fields.items():
        unset = extra_of(settings, name)["unset"]
        text = f"{name}: {' '.join((info.description or '').split())}{f' Default: {unset}.' if unset else ''}"
        found += textwrap.wrap(text, 108, subsequent_indent="    ")
    return found
