"""Run the command as a user does, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import preloaded

QUICK = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
"""Variables for JAX: most of the time of small runs is compiling."""
BLOCK = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tf_keras", "tf2onnx", "ai_edge_litert", "ai_edge_quantizer"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import importlib.util
found = importlib.util.find_spec

def find_spec(name, package=None):
    try:
        return found(name, package)
    except ModuleNotFoundError:
        return None

importlib.util.find_spec = find_spec
"""
"""A sitecustomize that makes TensorFlow, and what needs it, unfindable."""


def kcompress(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """`kcompress ARGUMENTS`, with extra environment variables; output and exit code come back.

    The process begins with Keras loaded, where the backend and all that Keras reads at its start are the usual ones.
    """
    given = list(map(str, arguments))
    if preloaded.fits(given, environment):
        return preloaded.run(given, cwd, environment)
    return anew(*arguments, cwd=cwd, **environment)


@contextmanager
def started(*arguments: object, out: Path, err: Path, **environment: str) -> Iterator[int]:
    """The number of a process that `kcompress ARGUMENTS` runs in, for a test to end; its output goes to these files."""
    given = list(map(str, arguments))
    if preloaded.fits(given, environment):
        process, wait = preloaded.start(given, None, environment, False, out, err)
        yield process
        wait()
        return
    command, env = [sys.executable, "-m", "kcompress.cli", *given], {**os.environ, **environment}
    opened = [os.open(path, os.O_RDWR | os.O_CREAT) for path in (out, err)]
    with subprocess.Popen(command, stdout=opened[0], stderr=opened[1], env=env) as new:
        for descriptor in opened:
            os.close(descriptor)
        yield new.pid


def light(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same, for what needs no backend: if it loads one, or anything heavy, its output ends with the names."""
    return preloaded.run(list(map(str, arguments)), cwd, {}, light=True)


def anew(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in a new interpreter, with nothing loaded."""
    command = [sys.executable, "-m", "kcompress.cli", *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, check=False, timeout=300)


def without_tensorflow(folder: Path) -> dict[str, str]:
    """The variables of a process on JAX that does not find TensorFlow; `folder` is made for that."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCK)
    return {**QUICK, "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One line on standard error with these words, nothing on standard output, no traceback, this exit code."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    assert done.stdout == ""
    for word in words:
        assert word in lines[0]
