"""What `kcompress passes` prints, derived from what the passes declare."""

import inspect
from typing import Any

from kcompress.fields import allowed
from kcompress.passes import find, names

COMMON = ("layers", "skip", "rules")


def overview() -> str:
    """One line per pass."""
    width = max(map(len, names()))
    lines = [f"{name:{width}}  {_summary(find(name))}" for name in names()]
    return "\n".join([*lines, "", "kcompress passes NAME explains one; --schema prints the JSON Schema of a recipe."])


def page(name: str) -> str:
    """All about one pass: what it does, what it needs, and every field. UsageError for an unknown name."""
    cls = find(name)
    own = [field for field in cls.model_fields if field not in COMMON]
    own.sort(key=lambda field: field not in cls.__annotations__)  # before those that it shares with other passes
    example = f"kcompress compress model.keras small.keras --data data.npz --apply {name}"
    needs = ", ".join(sorted(cls.needs)) or "nothing but the model"
    needs += "" if cls.needs == cls().required else ", with some settings"
    return "\n".join(
        [
            f"{name}: {inspect.cleandoc(cls.__doc__ or '')}",
            "",
            f"Needs: {needs}.",
            "",
            "Fields:" if own else "Fields: none of its own.",
            *(_field(cls, field) for field in own),
            "Fields of every pass:",
            *(_field(cls, field) for field in COMMON),
            "",
            f"Example: {example}",
        ]
    )


def _summary(cls: Any) -> str:
    return str(inspect.cleandoc(cls.__doc__ or "").splitlines()[0])


def _field(cls: Any, name: str) -> str:
    info = cls.model_fields[name]
    default = info.get_default()
    shown = "" if default in (None, (), False) else f" [default {default}]"
    text = " ".join((info.description or "").split())
    kind = "" if name in COMMON else f" ({allowed(info)})"
    return f"  {name}{kind}{shown}\n      {text}"
