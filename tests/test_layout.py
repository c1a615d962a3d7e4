"""The tests have the shape of the code: tests/ROOM/test_MODULE.py, or a line `Covers: ` in the docstring of another."""

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE, TESTS = ROOT / "kcompress", ROOT / "tests"
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def covered(source: str) -> set[str]:
    """The modules that the docstring of a test says it covers, from `Covers:` at the start of a line to a full stop."""
    found = re.findall(r"^Covers: (.*?\.py)\.$", ast.get_docstring(ast.parse(source)) or "", re.MULTILINE | re.DOTALL)
    return {name for names in found for name in re.split(r",\s+", names)}


COVERED = {path: covered(path.read_text()) for path in TESTS.rglob("test_*.py")}


def mirror(module: str) -> Path:
    """The test of a module's own name; the underscore of one that only its room imports is left out."""
    path = Path(module)
    return TESTS / path.parent / f"test_{path.name.removeprefix('_')}"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_test_of_its_name_or_one_that_says_so(module):
    assert mirror(module).exists() or any(module in names for names in COVERED.values())


def test_what_is_said_to_be_covered_exists():
    assert {name for names in COVERED.values() for name in names} <= set(MODULES)


def test_what_a_docstring_says_is_read():
    assert covered('"""About.\n\nCovers: a.py,\nroom/b.py.\n"""') == {"a.py", "room/b.py"}
    assert covered('"""About."""\n# Covers: a.py.') == set()
