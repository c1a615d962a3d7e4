"""What the Python API changes in the whole process for a while is put back."""

import logging
import os
import random
import signal
import sys
import warnings

import numpy as np
import optuna
import pytest

import kcompress
from kcompress import process_state
from tests.models import dense

SEARCHED = "quantize.weights:bits={search:[2,8]}"
LOGGERS = ("tensorflow", "tf2onnx", "absl", "optuna", "jax", "keras")


def state() -> dict[str, object]:
    """Not Python's random state: Keras draws seeds of new layers from it."""
    return {
        "loggers": {name: logging.getLogger(name).level for name in LOGGERS},
        "path": list(sys.path),
        "optuna": optuna.logging.get_verbosity(),
        "warnings": list(warnings.filters),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "numpy": str(np.random.get_state()),
        "errors": np.geterr(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109
    }


@pytest.mark.slow
def test_a_call_of_each_verb_leaves_the_process_as_it_was(tmp_path, monkeypatch):
    model = dense()
    x, y = np.random.default_rng(0).random((40, 8), np.float32), np.arange(40) % 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "somewhere_else.py").write_text("import numpy as np\ndef data(): return np.zeros((20, 8), 'float32')\n")
    kcompress.compress(model, tmp_path / "first.onnx")  # what is imported stays imported
    before = state()
    kcompress.compress(model, tmp_path / "o.onnx", passes=["quantize.float16"], data="somewhere_else:data")
    kcompress.compress(model, tmp_path / "t.tflite", trust=["somewhere_else"])
    kcompress.sensitivity(model, data=(x, y), levels={"quantize.weights:bits": [4]})
    kcompress.search(
        model,
        tmp_path / "s.keras",
        data=(x, y),
        max_drop=100,
        trials=2,
        passes=[SEARCHED],
    )
    after = state()
    assert {name for name in before if before[name] != after[name]} == set()


def test_a_seed_holds_for_a_while_only():
    random.seed(1)
    expected = random.Random(1).random()
    with process_state.seeded_process(5):
        one = random.random(), np.random.rand()
    assert random.random() == expected
    with process_state.seeded_process(5):
        assert (random.random(), np.random.rand()) == one
