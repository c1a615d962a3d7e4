"""Passes are found by file name, without importing any to list them, and a typo gets the nearest name."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kcompress
from kcompress.errors import UsageError
from kcompress.fields import suggest
from kcompress.passes import find, names
from kcompress.passes.base import Pass

PACKAGE = Path(kcompress.__file__).parent


def test_every_file_in_a_group_is_a_pass_of_that_name():
    files = [p for p in PACKAGE.glob("passes/*/*.py") if not p.name.startswith("_")]
    assert list(names()) == sorted(f"{p.parent.name}.{p.stem}" for p in files)
    assert {"prune.magnitude", "quantize.float16"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_a_pass_is_found_under_its_name_and_as_a_name_of_kcompress(name):
    cls = find(name)
    assert issubclass(cls, Pass)
    assert cls.title() == name
    assert cls.__name__.lower() == name.replace(".", "").replace("_", "")
    assert getattr(kcompress, cls.__name__) is cls


def test_type_checkers_dir_and_discovery_know_the_same_public_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        f"{node.module}.{alias.name}"
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    passes = {f"{find(name).__module__}.{find(name).__name__}" for name in names()}
    assert {name for name in imported if name.startswith("kcompress.passes.")} == passes
    assert dir(kcompress) == sorted(kcompress.__all__)
    assert set(kcompress.__all__) == {name.rsplit(".", 1)[1] for name in imported} | {"__version__"}
    assert all(getattr(kcompress, name) is not None for name in kcompress.__all__)


def test_listing_the_names_imports_no_pass():
    code = (
        "import sys; from kcompress.passes import names; names(); print([m for m in sys.modules if 'magnitude' in m])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("prune.magnitud", "did you mean 'prune.magnitude'?"),
        ("magnitude", "did you mean 'prune.magnitude'?"),
        ("quantise.float16", "did you mean 'quantize.float16'?"),
        ("float61", "did you mean 'quantize.float16'?"),
        ("xyz", "allowed: "),
        ("", "allowed: "),
        ("prune", ""),
        ("../x", ""),
        ("a\nb", ""),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest(given, hint):
    with pytest.raises(UsageError, match="no such pass; ") as caught:
        find(given)
    assert "\n" not in str(caught.value)
    assert hint in str(caught.value)


def test_a_file_must_define_exactly_one_pass(monkeypatch):
    module = sys.modules[find("quantize.float16").__module__]
    monkeypatch.setattr(module, "Second", type("Second", (Pass,), {"__module__": module.__name__}), raising=False)
    with pytest.raises(TypeError, match="must define exactly one Pass, not 2"):
        find("quantize.float16")


def test_the_nearest_is_suggested_else_all_that_is_allowed():
    assert suggest("sparsty", ("sparsity", "keep")) == "did you mean 'sparsity'?"
    assert suggest("zzz", ("sparsity", "keep")) == "allowed: sparsity, keep"
