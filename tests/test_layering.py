"""Imports point one way, and nothing heavy is imported before it is used.

The order, lowest first; a part imports itself and what stands below it, not what stands beside it:

    errors, leftovers, versions
    numerics, keras_internals, process_state, child_processes, memory, backend, sizes, typing, fields
    codec, files, progress
    cache
    settings
    model, data, hosts
    channels, quantization
    formats
    measure
    training
    passes
    recipe, report
    run
    analysis
    tuning
    api
    cli

`check` stands alone: it imports the standard library, click, `errors` and `sizes`, and only `cli` imports it. The
package's own `__init__` only holds the version and resolves public names when they are asked for.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kcompress

PACKAGE = Path(__file__).resolve().parent.parent / "kcompress"
ORDER = (
    ("errors", "leftovers", "versions"),
    (
        "numerics",
        "keras_internals",
        "process_state",
        "child_processes",
        "memory",
        "backend",
        "sizes",
        "typing",
        "fields",
        "codec",
        "files",
        "progress",
    ),
    ("cache",),
    ("settings",),
    ("model", "data", "hosts"),
    ("channels", "quantization"),
    ("formats",),
    ("measure",),
    ("training",),
    ("passes",),
    ("recipe", "report"),
    ("run",),
    ("analysis",),
    ("tuning",),
    ("api",),
    ("cli",),
)
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}
ALONE = "check"
ALONE_MAY_IMPORT = {*sys.stdlib_module_names, "click", "kcompress.errors", "kcompress.sizes"}
HEAVY = {
    *("keras", "tf_keras", "tensorflow", "tensorflow_model_optimization", "tf2onnx", "jax", "torch"),
    *("onnx", "onnxruntime", "ai_edge_litert", "ai_edge_quantizer", "optuna", "scipy", "matplotlib", "pandas"),
    *("pyarrow", "PIL", "onnx_ir"),
}
SOURCES = {
    ".".join(("kcompress", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST, everywhere: bool = True) -> Iterator[str]:
    """Full names imported at run time: `from a import b` gives `a.b`; within functions too where `everywhere`."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            assert isinstance(node, ast.If)
            yield from imports(ast.Module(node.orelse, []), everywhere)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif everywhere or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imports(node, everywhere)


def module_of(name: str) -> str:
    """`kcompress.errors` for `kcompress.errors.UsageError`; `kcompress` for `kcompress.__version__`."""
    while name.startswith("kcompress.") and name not in SOURCES:
        name = name.rpartition(".")[0]
    return name


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def wrong(module: str, source: str) -> list[str]:
    """The imports of a module of kcompress that point up or sideways."""
    own = part_of(module)

    def allowed(name: str) -> bool:
        other = part_of(module_of(name))
        if other in ("", ALONE):
            return name == "kcompress.__version__" if other == "" else own == "cli"
        return other == own or LEVEL[other] < LEVEL[own]

    return [n for n in imports(ast.parse(source)) if n.split(".")[0] == "kcompress" and not allowed(n)]


@pytest.mark.parametrize("module", [m for m in SOURCES if part_of(m) not in ("", ALONE)])
def test_imports_point_down(module):
    assert part_of(module) in LEVEL, f"{module} has no place in ORDER yet"
    assert wrong(module, SOURCES[module].read_text(encoding="utf-8")) == []


def test_every_part_in_the_order_exists():
    assert set(LEVEL) == {part_of(m) for m in SOURCES} - {"", ALONE}


@pytest.mark.parametrize("module", [m for m in SOURCES if part_of(m) in (ALONE, "sizes", "errors")])
def test_check_stands_alone(module):
    for name in imports(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
        allowed = part_of(name) == ALONE or {module_of(name), name.split(".")[0]} & ALONE_MAY_IMPORT
        assert allowed, name


@pytest.mark.parametrize("module", SOURCES)
def test_nothing_heavy_is_imported_at_module_level(module):
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    assert HEAVY.isdisjoint(name.split(".")[0] for name in imports(tree, everywhere=False))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kcompress.model.view", "from kcompress.formats import find"),
        ("kcompress.model.view", "def f():\n    from kcompress.api import compress"),
        ("kcompress.model.view", "import kcompress.passes.base"),
        ("kcompress.model.view", "from kcompress.data import Dataset"),
        ("kcompress.model.view", "from kcompress.check.gate import check"),
        ("kcompress.model.view", "from kcompress import compress"),
        ("kcompress.numerics.storage", "try:\n    import kcompress.model.view\nexcept ImportError:\n    pass"),
        ("kcompress.recipe", "if TYPE_CHECKING:\n    pass\nelse:\n    from kcompress.api.compress import compress"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_seen(module, source):
    assert len(wrong(module, source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from kcompress.model import kernels",
        "from kcompress.errors import UsageError",
        "from kcompress import __version__, errors",
        "if TYPE_CHECKING:\n    from kcompress.api.compress import Hooks",
        "import numpy, keras",
    ],
)
def test_an_import_that_points_down_is_fine(source):
    assert wrong("kcompress.model.view", source) == []


def test_only_imports_inside_functions_wait_for_their_use():
    source = "def f():\n    import keras\nclass A:\n    import jax\ntry:\n    import onnx\nfinally:\n    pass"
    assert set(imports(ast.parse(source), everywhere=False)) == {"jax", "onnx"}


@pytest.mark.parametrize("module", ["kcompress", "kcompress.cli", "kcompress.check", "kcompress.recipe"])
def test_importing_it_loads_nothing_heavy(module):
    """What the sources say, seen in a process: through every module that is imported on the way, too."""
    program = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_public_name_is_that_of_a_module():
    """Else the module would take the place of the function as soon as anybody imports it."""
    assert not {path.stem for path in PACKAGE.iterdir()} & set(kcompress.__all__)
