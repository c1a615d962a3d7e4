"""Commands in processes that begin with Keras and kcompress loaded: loading takes longer than most commands do.

Run as a module this is the server. It loads Keras, reads a request per line, and forks; the child becomes the command
and ends as any interpreter does. Nothing is computed before, so that TensorFlow has no threads yet that a fork loses.

With `light` it loads no Keras, and a command that loads something heavy says so at the end of its output.
"""

import atexit
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

from tests.conftest import ROOT
from tests.hostile.watch import VARIABLE, watch

OWN = ("KCOMPRESS_", "PYTEST_")
"""How variables begin that a command reads when it runs; others may have been read while loading."""
SECONDS = 300
LIMITS = "KCOMPRESS_TEST_LIMITS"
"""The variable with a command's own limits: seconds, and bytes of memory."""
COMMANDS = ("compress", "compare", "inspect", "verify", "ensemble", "search", "sensitivity")
HEAVY = {"keras", "tensorflow", "jax", "torch", "onnx", "matplotlib"}


def fits(arguments: list[str], extra: dict[str, str]) -> bool:
    """Whether a process started like this, with these extra variables, loads what the server has loaded."""
    from kcompress import backend

    asked = arguments[arguments.index("--backend") + 1] if "--backend" in arguments else "tensorflow"
    return asked == backend.select() == "tensorflow" and all(
        os.environ.get(name) == value for name, value in loading(extra).items()
    )


def run(
    arguments: list[str], cwd: Path | None, extra: dict[str, str], light: bool = False
) -> subprocess.CompletedProcess[str]:
    """`kcompress ARGUMENTS`; output and exit code come back."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("out", "err")]
        _, exit_code = start(arguments, cwd, extra, light, *streams)
        code = exit_code()
        return subprocess.CompletedProcess(arguments, code, *(stream.read_text() for stream in streams))


def start(
    arguments: list[str], cwd: Path | None, extra: dict[str, str], light: bool, out: Path, err: Path
) -> tuple[int, Callable[[], int]]:
    """Start `kcompress ARGUMENTS`: its process, and what waits for its exit code, before the next is started."""
    environment = {**os.environ, **extra}
    process = server(frozenset(loading(environment).items()), light)
    assert process.stdin is not None and process.stdout is not None
    answers = process.stdout
    request = {"arguments": arguments, "cwd": str(cwd or Path.cwd()), "environment": environment}
    process.stdin.write(json.dumps({**request, "streams": [str(out), str(err)]}) + "\n")
    process.stdin.flush()
    return int(answers.readline()), lambda: int(answers.readline())


def loading(environment: dict[str, str]) -> dict[str, str]:
    """The variables that may be read while loading."""
    return {name: value for name, value in environment.items() if not name.startswith(OWN)}


@cache
def server(variables: frozenset[tuple[str, str]], light: bool) -> subprocess.Popen[str]:
    """A server that was started with these variables, which seldom change."""
    command = [sys.executable, "-m", "tests.preloaded", *(["light"] if light else [])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env=dict(variables), **pipes)
    atexit.register(process.communicate)  # the end of its input is that of the server
    return process


def serve(light: bool) -> bool:
    """Load Keras and fork for each request. True in a child, False at the end of the input."""
    from kcompress import backend
    from kcompress.passes import find, names
    from tests.quick import work_less

    if not light:
        backend.load()
    for command in COMMANDS:
        import_module(f"kcompress.api.{command}")
    for name in names():
        find(name)
    work_less()
    gc.collect()
    gc.freeze()  # so that children need not look through what was loaded, each time they free memory
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(**json.loads(line))
            return True
        print(child, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201
    return False


def become(arguments: list[str], cwd: str, environment: dict[str, str], streams: list[str]) -> None:
    """Take the place of `python -m kcompress.cli ARGUMENTS` that was started with all this."""
    limits = environment.get(LIMITS, f"{SECONDS},0").split(",")
    signal.alarm(int(limits[0]))
    if most := int(limits[1]):
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # even if the tests run in the background
    for descriptor, path in enumerate([os.devnull, *streams]):
        os.dup2(os.open(path, os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0] = cwd
    sys.argv = ["kcompress", *arguments]
    if log := environment.get(VARIABLE):
        from tests.quick import read_as_users_do

        read_as_users_do()
        watch(Path(log))


if __name__ == "__main__" and serve(light := sys.argv[1:] == ["light"]):
    from kcompress.cli.program import main

    try:
        main()
    finally:
        if light and (loaded := HEAVY & set(sys.modules)):
            print(*sorted(loaded))  # noqa: T201
