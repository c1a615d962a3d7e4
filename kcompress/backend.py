"""Choose Keras's backend before Keras is imported, and keep its start quiet.

Keras reads KERAS_BACKEND once, at import. Without it, and without a choice of the caller's, the first of TensorFlow,
JAX and PyTorch that is installed is taken.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from kcompress.errors import MissingExtraError, UsageError

BACKENDS = ("tensorflow", "jax", "torch")
MOST_CALLS = 10_000
"""Python's limit on calls inside of calls: Keras goes through a graph by one or two for each layer of a path."""


def installed(module: str) -> bool:
    """Whether a top-level module could be imported; imports nothing."""
    return sys.modules.get(module) is not None or importlib.util.find_spec(module) is not None


def select(name: str | None = None) -> str:
    """Settle on a backend, without importing it; `name` is the caller's choice.

    Raises UsageError for an unknown name, or if Keras already runs on another one; MissingExtraError if the backend,
    or any at all, is not installed.
    """
    running = sys.modules["keras"].backend.backend() if "keras" in sys.modules else None
    if name is not None and name not in BACKENDS:
        raise UsageError(f"backend={name} is unknown; allowed: {', '.join(BACKENDS)}")
    if running is not None:
        if name not in (None, running):
            raise UsageError(f"backend={name}, but Keras already runs on {running}; set KERAS_BACKEND={name} at start")
        return str(running)
    chosen = name or os.environ.get("KERAS_BACKEND") or next(filter(installed, BACKENDS), None)
    if chosen is None:
        raise MissingExtraError("tensorflow", "running a Keras model")
    if chosen in BACKENDS and not installed(chosen):
        if chosen == "torch":  # no extra brings it: its builds come from an index of their own
            raise UsageError("backend=torch, but PyTorch is not installed; run: pip install torch")
        raise MissingExtraError(chosen, f"Keras on the {chosen} backend")
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # nor does JAX take all memory of a GPU at once
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # trains convolutions faster; off by default without AVX-512
    if devices := _emulated():
        # devices wait for each other in threads of one pool, which is as large as there are processors: too few to end
        os.environ.setdefault("PJRT_NPROC", str(4 * devices))
    return chosen


def _emulated() -> int:
    """How many devices JAX is to make of the processor."""
    flag = re.search(r"xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    asked = flag[1] if flag else os.environ.get("JAX_NUM_CPU_DEVICES", "")
    return int(asked) if asked.isdecimal() else 0


def load(name: str | None = None) -> Any:
    """Import Keras on the selected backend and return it; what libraries print while loading is dropped."""
    chosen = select(name)
    sys.setrecursionlimit(max(MOST_CALLS, sys.getrecursionlimit()))
    if "keras" not in sys.modules:
        with silenced():
            import keras  # noqa: F401

            if chosen != "tensorflow" and installed("tensorflow"):
                import tensorflow  # noqa: F401 - Keras does so itself, with noise, as soon as it serializes
    return sys.modules["keras"]


@contextmanager
def silenced(descriptor: Literal[1, 2] = 2) -> Iterator[None]:
    """Drop what native code writes to standard error (2) or output (1) meanwhile; Python's own is flushed around it."""
    stream = sys.stderr if descriptor == 2 else sys.stdout
    stream.flush()
    try:
        saved = os.dup(descriptor)
    except OSError:  # there is none at all
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, descriptor)
        yield
    finally:
        stream.flush()
        os.dup2(saved, descriptor)
        os.close(saved)
        os.close(sink)
