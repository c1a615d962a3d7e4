"""Functions of tests, called in a process with another backend than here, or without kcompress.

The process stays for the tests after: loading a backend takes longer than most calls do. In one on another backend
TensorFlow can't be found, as Keras would load that too. In the one called `stock` it is TensorFlow that Keras runs on,
and kcompress can't be found.

Run as a module this is the process: it reads a call per line, and answers with what the function returned, as JSON, or
with the traceback.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STOCK = "stock"


def call(kind: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function at the top of a module returns there, given arguments that JSON can hold; `kind`: jax, stock."""
    stream = process(kind)
    assert stream.stdin is not None and stream.stdout is not None
    own = {name: value for name, value in os.environ.items() if name.startswith("KCOMPRESS_")}
    request = {"module": function.__module__, "name": function.__name__, "arguments": arguments, "environment": own}
    stream.stdin.write(json.dumps(request) + "\n")
    stream.stdin.flush()
    answer = json.loads(stream.stdout.readline() or '{"error": "the process ended"}')
    assert "error" not in answer, answer["error"]
    return answer["value"]


@cache
def process(kind: str) -> "subprocess.Popen[str]":
    """The process of a backend, or the one without kcompress."""
    from tests.shell import without_tensorflow

    site = tempfile.TemporaryDirectory()
    atexit.register(site.cleanup)
    stock = kind == STOCK
    own = {} if stock else without_tensorflow(Path(site.name, "site"))
    environment = {**os.environ, **own, "KERAS_BACKEND": "tensorflow" if stock else kind}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "tests.other_process", kind]
    started = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    atexit.register(started.communicate)  # the end of its input is that of the process
    return started


def serve(kind: str) -> None:
    """Answer calls until there is no more input."""
    if kind == STOCK:
        sys.modules["kcompress"] = None  # type: ignore[assignment]  # as Python has it for what can't be found
    else:
        from tests.quick import work_less

        work_less()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what a function prints is no answer
        for line in sys.stdin:
            request = json.loads(line)
            os.environ.update(request["environment"])
            try:
                function = getattr(import_module(request["module"]), request["name"])
                answer = {"value": function(*request["arguments"])}
            except Exception:
                answer = {"error": traceback.format_exc()}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
