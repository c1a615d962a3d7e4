"""Find passes by file name. Listing the names imports none of them; nothing has to be registered."""

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kcompress.errors import UsageError
from kcompress.fields import suggest

if TYPE_CHECKING:
    from kcompress.passes.base import Pass

ROOT = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """All pass names, sorted: every passes/GROUP/NAME.py is GROUP.NAME."""
    files = (path for path in ROOT.glob("*/*.py") if not path.stem.startswith("_"))
    return tuple(sorted(f"{path.parent.name}.{path.stem}" for path in files))


def find(name: str) -> "type[Pass]":
    """The class of the pass called `name`; UsageError with the nearest name if there is none."""
    from kcompress.passes.base import Pass

    if name not in names():
        raise UsageError(f"{name}: no such pass; {suggest(name, names())}")
    return only_class(importlib.import_module(f"kcompress.passes.{name}"), Pass)


def only_class(module: ModuleType, base: type[Any]) -> type[Any]:
    """The subclass of `base` that a module defines; TypeError unless there is exactly one."""
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, base) and item.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one {base.__name__}, not {len(found)}")
    return found[0]
