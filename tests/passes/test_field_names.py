"""Rooms that work with any pass decide nothing by the names of its fields: they ask what a field or a pass declares."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kcompress
from kcompress.passes import find, names
from kcompress.passes.base import Pass

PACKAGE = Path(kcompress.__file__).parent
ROOMS = ("analysis", "api", "cli", "run", "tuning")
READERS = ("get", "getattr", "hasattr", "pop")
OWN_KEYS = {("tuning/template.py", "steps")}
"""Module and key of a document of its own, which is called like a field."""


def fields() -> set[str]:
    return {field for name in names() for field in find(name).model_fields} - Pass.model_fields.keys()


def texts(node: ast.AST) -> list[str]:
    """A string, or all of a tuple or list that consists of strings."""
    parts = node.elts if isinstance(node, (ast.Tuple, ast.List, ast.Set)) else [node]
    found = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return found if len(found) == len(parts) else []


def deciding(code: str) -> Iterator[str]:
    """Strings that are compared with, looked up by, or kept as constants with nothing but such strings in them."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from (text for part in (node.left, *node.comparators) for text in texts(part))
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            yield from texts(node.slice)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in READERS:
            yield from (text for part in node.args for text in texts(part))
    for statement in tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            parts = texts(statement.value)
            yield from parts if set(parts) <= fields() else ()


def test_no_room_decides_by_the_name_of_a_field():
    modules = [PACKAGE / "recipe.py", PACKAGE / "fields.py"]
    modules += [p for room in ROOMS for p in sorted((PACKAGE / room).rglob("*.py")) if p.stem != "presets"]
    found = {(path.relative_to(PACKAGE).as_posix(), text) for path in modules for text in deciding(path.read_text())}
    assert {(module, text) for module, text in found if text in fields()} <= OWN_KEYS


@pytest.mark.parametrize(
    "code",
    [
        'COMBINE = "combine"',
        'RISING = ("sparsity", "ratio")',
        'if field in ("macs", "bytes"): pass',
        'config.get("student")',
        'config["epochs"] = 2 * config["epochs"]',
    ],
)
def test_such_a_decision_is_seen(code):
    assert set(deciding(code)) & fields()
