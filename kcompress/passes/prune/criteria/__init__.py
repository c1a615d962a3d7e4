"""Criteria of `prune.structured`, one class per file: what channels are ranked by, the lowest score goes first.

To add one, add a file: its name is the name of the criterion, its class a subclass of `Criterion`. The values that the
field `criterion` takes, its help and its JSON Schema follow.
"""

import importlib
import textwrap
from functools import cache
from pathlib import Path

from kcompress.passes.discovery import only_class
from kcompress.passes.prune.criteria._criterion import Criterion

__all__ = ["Criterion", "criteria", "describe_criteria"]


@cache
def criteria() -> dict[str, type[Criterion]]:
    """Name to criterion, in the order of help texts."""
    stems = [path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")]
    found = {stem: only_class(importlib.import_module(f"{__name__}.{stem}"), Criterion) for stem in stems}
    return dict(sorted(found.items(), key=lambda item: (item[1].place, item[0])))


def describe_criteria() -> str:
    """The help of the field `criterion`, as long lines: what each criterion looks at."""
    by_what: dict[str, list[str]] = {}
    for name, each in criteria().items():
        by_what.setdefault(each.looks_at, []).append(name)
    sentences = [f"{what}: {', '.join(names)}." for what, names in by_what.items()]
    return textwrap.fill(f"What channels are ranked by, such as l2. {' '.join(sentences)}", 116)
