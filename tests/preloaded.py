"""Commands in processes that begin with Keras loaded: loading takes longer than most commands do.

Run as a module this is the server. It loads Keras, reads a request per line, and forks; the child becomes the command
and ends as any interpreter does. Nothing is computed before, so that TensorFlow has no threads yet that a fork loses.
"""

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

OWN = ("KCOMPRESS_", "PYTEST_")
"""How variables begin that a command reads when it runs; others may have been read while loading."""
SECONDS = 300


def fits(arguments: list[str], environment: dict[str, str]) -> bool:
    """Whether a process started like this would have loaded Keras as the server has."""
    _, backend, variables = server()
    asked = arguments[arguments.index("--backend") + 1] if "--backend" in arguments else backend
    return asked == backend and loading(environment) == variables


def run(arguments: list[str], cwd: Path | None, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`kcompress ARGUMENTS`; output and exit code come back."""
    process, *_ = server()
    assert process.stdin is not None and process.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        streams = [str(Path(folder, name)) for name in ("out", "err")]
        request = {"arguments": arguments, "cwd": str(cwd or Path.cwd()), "environment": environment}
        process.stdin.write(json.dumps({**request, "streams": streams}) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, *(Path(stream).read_text() for stream in streams))


def loading(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(OWN)}


@cache
def server() -> tuple[subprocess.Popen[str], str, dict[str, str]]:
    """The server that this process has started, its backend, and the variables it was started with."""
    from kcompress import backend

    backend.select()  # sets variables, as loading does here sooner or later
    command = [sys.executable, "-m", "tests.preloaded"]
    variables = loading(dict(os.environ))
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)  # the end of its input is that of the server
    assert process.stdout is not None
    return process, process.stdout.readline().strip(), variables


def serve() -> bool:
    """Load Keras and fork for each request. True in a child, False at the end of the input."""
    from kcompress import backend

    print(backend.load().backend.backend(), flush=True)  # noqa: T201
    gc.collect()
    gc.freeze()  # so that children need not look through what was loaded, each time they free memory
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(**json.loads(line))
            return True
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201
    return False


def become(arguments: list[str], cwd: str, environment: dict[str, str], streams: list[str]) -> None:
    """Take the place of `python -m kcompress.cli ARGUMENTS` that was started with all this."""
    signal.alarm(SECONDS)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # even if the tests run in the background
    for descriptor, path in enumerate([os.devnull, *streams]):
        os.dup2(os.open(path, os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0] = cwd
    sys.argv = ["kcompress", *arguments]


if __name__ == "__main__" and serve():
    from kcompress import cli

    cli.main()
