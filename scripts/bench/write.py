"""Time to write files: against Keras's own export for .tflite and .onnx, in MB of weights a second for .keras.

    python scripts/bench/write.py     # about 3 minutes; goals: ratio at most 1.10, at least 10 MB/s, at most 0.25

Everything is timed in one process, the two writers of a pair in turn; the ratio is that of the medians.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from kcompress import backend

keras = backend.load("tensorflow")

import numpy as np

from kcompress.formats import WriteOptions, formats
from kcompress.formats.keras.format import load
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import QuantPlan

RUNS = 3
warnings.simplefilter("ignore")
folder = Path(tempfile.mkdtemp())
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    with backend.silenced():
        work()
    return time.perf_counter() - started


def write(format_name: str, model: object) -> Path:
    path = folder / f"ours.{format_name}"
    formats()[format_name].write(model, QuantPlan(), path, WriteOptions())
    return path


model = keras.applications.MobileNetV2(weights=None)
model(np.zeros((1, 224, 224, 3), np.float32))
print("MobileNetV2 at 224 pixels, seconds to write (median of 3, after one warm-up)")
for format_name, keras_name, options in (("tflite", "litert", {}), ("onnx", "onnx", {"opset_version": 18})):
    theirs_path = folder / f"theirs.{format_name}"

    def export(path=theirs_path, name=keras_name, options=options):
        model.export(path, format=name, verbose=False, **options)

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for run in range(RUNS + 1):
        pair = {"ours": seconds(lambda format_name=format_name: write(format_name, model)), "theirs": seconds(export)}
        if run:
            for name, value in pair.items():
                times[name].append(value)
    ours, theirs = (statistics.median(times[name]) for name in ("ours", "theirs"))
    sizes = (folder / f"ours.{format_name}").stat().st_size, theirs_path.stat().st_size
    print(
        f"  .{format_name}: kcompress {ours:.2f}, Keras's export {theirs:.2f}, ratio {ours / theirs:.2f}; bytes {sizes}"
    )

print(".keras, MB of float32 weights a second, and bytes against the file that Keras writes")
resnet = keras.applications.ResNet50(weights=None)
for name, steps in {
    "ResNet50 dense": [],
    "ResNet50, 80 % zeros": ["prune.magnitude"],
    "ResNet50, 80 % zeros, float16": ["prune.magnitude", "quantize.float16"],
}.items():
    made = resnet
    for step in steps:
        made = find(step)(**({"sparsity": 0.8} if "prune" in step else {})).apply(made, Context()).model
    time_taken = statistics.median(seconds(lambda made=made: write("keras", made)) for _ in range(RUNS))
    megabytes = made.count_params() * 4 / 1e6
    print(
        f"  {name}: {megabytes / time_taken:.0f} MB/s, {(folder / 'ours.keras').stat().st_size / megabytes / 1e6:.3f}"
    )

lenet = load(FIXTURES / "lenet300.keras")
sparse = find("prune.magnitude")(sparsity=0.8).apply(lenet, Context()).model
before, after = (FIXTURES / "lenet300.keras").stat().st_size, write("keras", sparse).stat().st_size
print(f"lenet300.keras at 80 % zeros: {after:,} of {before:,} bytes, {after / before:.3f}")
