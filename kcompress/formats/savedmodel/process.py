"""A SavedModel runs in a process of its own, with limits on time, memory and files: its graph may be a stranger's.

`SavedModelRunner` is the parent's end; `python -m kcompress.formats.savedmodel.process FOLDER SIGNATURE` runs the
child's. A request or an answer is a line of JSON, which names types and shapes of arrays, and the arrays' bytes. The
child runs on the processor.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kcompress.child_processes import SHARE_OF_MEMORY, command, confine, environment
from kcompress.errors import ModelError, one_line, shortened
from kcompress.files import in_utf8
from kcompress.formats.base import Tensors
from kcompress.formats.savedmodel.graph import Graph
from kcompress.memory import PeakMemory, memory_bytes

MOST_SECONDS = 600.0
"""For loading, and for each call."""
NUMBERS = "biufc"


class SavedModelRunner:
    """One signature as a Runner. `seconds` says how long it has computed, in its process, and `peak_bytes` how far the
    process has grown since before it loaded the model."""

    def __init__(self, path: Path, graph: Graph) -> None:
        self._path = path
        self.inputs = graph.inputs
        self.outputs = graph.outputs
        self.seconds = 0.0
        self.peak_bytes: int | None = None
        with in_utf8(path) as plain:
            self._child = subprocess.Popen(
                command("kcompress.formats.savedmodel.process", str(plain.absolute()), graph.signature),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1"),
            )
            assert self._child.stdin is not None and self._child.stdout is not None
            self._requests, self._answers = self._child.stdin, self._child.stdout
            self._end = weakref.finalize(self, _end, self._child)
            self._dtypes = dict(zip(self.inputs, self._answer()["dtypes"], strict=True))

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        arrays = {name: np.asarray(x[name]).astype(kind) for name, kind in self._dtypes.items()}
        with contextlib.suppress(OSError):  # where it has ended, there is no answer either
            _send(self._requests, {}, arrays)
        answer = self._answer()
        return [answer["arrays"][name] for name in self.outputs]

    def _answer(self) -> dict[str, Any]:
        """Wait for an answer; ModelError for an error, for none in time, and where the process has ended."""
        late = threading.Timer(MOST_SECONDS, self._child.kill)
        late.start()
        try:
            answer = _receive(self._answers)
        except (EOFError, ValueError, OSError) as error:
            raise ModelError(f"{self._path}: {self._ended(late)}; export it again") from error
        finally:
            late.cancel()
        if "error" in answer:
            raise ModelError(f"{self._path}: {answer['error']}; export it again")
        self.seconds += answer["seconds"]
        self.peak_bytes = answer["peak_bytes"]
        return answer

    def _ended(self, late: threading.Timer) -> str:
        """Why there is no answer."""
        try:
            code = self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it said what is no answer
            self._child.kill()
            code = self._child.wait()
        if late.finished.is_set():
            return f"took more than {MOST_SECONDS:.0f} seconds to load or to run"
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"exit code {code}"
        return f"ended the process that ran it ({name})"


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    child.wait()


def _send(stream: IO[bytes], document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    kinds = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    stream.write(json.dumps({**document, "arrays": kinds}).encode() + b"\n")
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).tobytes())
    stream.flush()


def _receive(stream: IO[bytes]) -> dict[str, Any]:
    """EOFError where the other end has gone, ValueError for what it would not send."""
    document: dict[str, Any] = json.loads(_whole(stream.readline()))
    for name, (kind, shape) in document["arrays"].items():
        dtype = np.dtype(kind)
        if dtype.kind not in f"{NUMBERS}S" or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise ValueError(kind)
        length = dtype.itemsize * math.prod(shape)
        document["arrays"][name] = np.frombuffer(_whole(stream.read(length), length), dtype).reshape(shape)
    return document


def _whole(content: bytes, length: int = 1) -> bytes:
    if len(content) < length:
        raise EOFError
    return content


def main(folder: str, name: str) -> None:
    """Load a signature and run it as often as is asked."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    peak = PeakMemory()
    confine(int(SHARE_OF_MEMORY * memory_bytes()))
    tempfile.tempdir = os.devnull  # which is not looked for, as none can be written to
    import tensorflow as tf

    peak.reset()
    try:
        loaded = tf.saved_model.load(folder)
        call = loaded.signatures[name]
        specs = call.structured_input_signature[1]
        kinds = [_kind(specs[key].dtype.as_numpy_dtype) for key in sorted(specs)]
    except Exception as error:  # of TensorFlow
        _send(answers, {"error": f"cannot be loaded ({one_line(error)})"}, {})
        return
    _send(answers, {"dtypes": kinds, "seconds": 0, "peak_bytes": peak.rise()}, {})
    while True:
        try:
            arrays = _receive(sys.stdin.buffer)["arrays"]
        except EOFError:
            return
        try:
            began = time.perf_counter()
            outputs = {key: value.numpy() for key, value in call(**_tensors(tf, specs, arrays)).items()}
            seconds = time.perf_counter() - began
            found = {key: np.asarray(value).astype(_kind(value.dtype)) for key, value in outputs.items()}
        except Exception as error:  # of TensorFlow
            _send(answers, {"error": f"cannot be run ({_reason(error)})"}, {})
            continue
        _send(answers, {"seconds": seconds, "peak_bytes": peak.rise()}, found)


def _reason(error: Exception) -> str:
    """What TensorFlow says of an error in a graph, behind a heading and where the node was made."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Graph execution error", "Detected at node", "<"))]
    return shortened(told[0]) if told else one_line(error)


def _tensors(tf: Any, specs: Mapping[str, Any], arrays: Tensors) -> dict[str, Any]:
    return {name: tf.cast(tf.constant(value), specs[name].dtype) for name, value in arrays.items()}


def _kind(dtype: Any) -> str:
    """How arrays are sent: texts as bytes, and bfloat16 and the like, which NumPy does not know, as float32."""
    kind = np.dtype(dtype).kind
    if kind == "O":
        return "S"
    return np.dtype(dtype).str if kind in NUMBERS else "<f4"


if __name__ == "__main__":
    main(*sys.argv[1:])
