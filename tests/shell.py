"""Run the command as a user does, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests import preloaded


def kcompress(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """`kcompress ARGUMENTS`, with extra environment variables; output and exit code come back.

    The process begins with Keras loaded, where the backend and all that Keras reads at its start are the usual ones.
    """
    given = list(map(str, arguments))
    if preloaded.fits(given, environment):
        return preloaded.run(given, cwd, environment)
    return anew(*arguments, cwd=cwd, **environment)


def light(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same, for what needs no backend: if it loads one, or anything heavy, its output ends with the names."""
    return preloaded.run(list(map(str, arguments)), cwd, {}, light=True)


def anew(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in a new interpreter, with nothing loaded."""
    command = [sys.executable, "-m", "kcompress.cli", *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, check=False, timeout=300)


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One line on standard error with these words, nothing on standard output, no traceback, this exit code."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    assert done.stdout == ""
    for word in words:
        assert word in lines[0]
