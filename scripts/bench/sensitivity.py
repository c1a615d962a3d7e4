"""Time to run a model once for each layer that is changed alone: only the stages that it reaches, or all of the model.

    python scripts/bench/sensitivity.py             # about 2 minutes; the goal is 1.3
    python scripts/bench/sensitivity.py resnet8     # one of the models

One level of each field that `kcompress sensitivity` tries, in turn with and without stages; the ratio is that of the
processor time of all settings together, making and compiling the functions told apart. Passes are not counted.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from kcompress import backend

keras = backend.load()
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from kcompress.analysis import forward
from kcompress.analysis.changes import changes
from kcompress.analysis.levels import sweeps
from kcompress.analysis.measuring import judged
from kcompress.analysis.probe import Probe
from kcompress.data import Dataset, Splits, resolve
from kcompress.formats.keras.format import load
from kcompress.formats.keras.runner import KerasRunner
from kcompress.passes.base import Context

FIELDS = {"prune.magnitude:sparsity": [0.5], "prune.structured:ratio": [0.25], "quantize.weights:bits": [4]}
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SAMPLES = 512
MOST = 20
"""About how many layers, or sets of them, are tried at a level."""


def mobilenet() -> tuple[Any, Dataset]:
    """MobileNetV2 of random weights on 256 random images of 96 pixels; every fifth is a test image."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3), classes=10)
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (320, 96, 96, 3)).astype(np.float32)
    data = resolve((images, random.integers(0, 10, 320))).fit_to(KerasRunner(model).inputs).training
    assert data is not None
    return model, data


def resnet8() -> tuple[Any, Dataset]:
    model = load(FIXTURES / "resnet8.keras")
    return model, judged(resolve(str(FIXTURES / "fashion_mnist.npz")).fit_to(KerasRunner(model).inputs))


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of all threads, which others at work change less than the time that passes."""
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


def compare(name: str, model: Any, data: Dataset) -> None:
    probes, making, running = {}, {}, {"stages": 0.0, "whole": 0.0}
    for kind, most in {"stages": forward.STAGES, "whole": 1}.items():
        with mock.patch.object(forward, "STAGES", most):
            making[kind], probes[kind] = seconds(lambda: Probe(model, data, SAMPLES))
    settings, furthest = 0, 0.0
    for sweep in sweeps(FIELDS):
        ((_, pass_),) = sweep.passes
        found = list(changes(model, pass_, Context(Splits(None, None, None), 0)).new_values.values())
        for values in found[:: 1 + len(found) // MOST]:
            scores = {}
            for kind, probe in probes.items():
                taken, scores[kind] = seconds(lambda probe=probe, values=values: probe.score(values))
                running[kind] += taken
            settings += 1
            own, other = scores["stages"].distortion, scores["whole"].distortion
            furthest = max(furthest, abs(own - other) / max(other, 1e-9))
    print(
        f"{name}, {probes['whole'].reference.samples} samples, {settings} settings: whole {running['whole']:.1f} s, "
        f"stages {running['stages']:.1f} s, {running['whole'] / running['stages']:.2f} times as fast; made in "
        f"{making['whole']:.1f} and {making['stages']:.1f} s; distortions differ by {furthest:.0e} at most",
        flush=True,
    )


for build in (mobilenet, resnet8):
    if build.__name__ in (sys.argv[1:] or (build.__name__,)):
        compare(build.__name__, *build())
