"""Integer files beside those of other tools: time, bytes and accuracy.

    python scripts/bench/quantize.py                    # about 5 minutes
    python scripts/bench/quantize.py --architectures    # which operators stay float in 13 architectures; 5 minutes

Goals: MobileNetV2 at most 1.03 times the bytes and 1.0 times the time of TFLiteConverter; on the fixtures a drop of at
most 0.5 points, an agreement of at least 0.985 and an accuracy of at least TFLiteConverter's; at most 1.1 bits per
binarized weight and 1.1 times the latency of the float file. Times are medians, taken in turns in one process. All
tools calibrate on the same images. One point of accuracy is 20 of the 2,000 test images.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from kcompress import backend

keras = backend.load("tensorflow")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import kcompress
from kcompress import data
from kcompress.errors import UnsupportedError, UsageError
from kcompress.formats import WriteOptions, find, formats, run_batches
from kcompress.formats.tflite.flatbuffer import unpack
from kcompress.measure.files import measure_file
from kcompress.measure.quality import evaluate
from kcompress.passes import find as find_pass
from kcompress.quantization.plan import QuantPlan
from scripts.bench import _others
from tests import architectures
from tests.formats import integers

RUNS = 3
IMAGES = 200
SAMPLES = 512
"""Images of 224 pixels to calibrate on, and small ones, as many as `quantize.int8` takes by itself."""
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
folder = Path(tempfile.mkdtemp())


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def conversion() -> None:
    """Time and bytes from a Keras model in memory to an 8-bit `.tflite`: passes and writing, no measuring."""
    x = architectures.images(224, IMAGES) / 127.5 - 1
    model = architectures.build("MobileNetV2", 224, x[:16])
    model.predict(x[:1], verbose=0)
    source = folder / "float.tflite"
    formats()["tflite"].write(model, QuantPlan(), source, WriteOptions())
    works = {
        "kcompress": lambda: integers.write(model, x, folder / "kcompress.tflite"),
        "TFLiteConverter": lambda: _others.tflite_converter(model, x, folder / "TFLiteConverter.tflite"),
        "ai-edge-quantizer (a float .tflite exists)": lambda: _others.ai_edge_quantizer(
            source, x, folder / "ai-edge-quantizer (a float .tflite exists).tflite"
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(RUNS):
        for name, work in works.items():
            times[name].append(seconds(work))
    print(f"MobileNetV2 at 224 pixels, {IMAGES} images, Keras model to 8-bit .tflite (median of {RUNS})")
    sizes = {name: (folder / f"{name}.tflite").stat().st_size for name in works}
    for name in works:
        median = statistics.median(times[name])
        ratio = median / statistics.median(times["TFLiteConverter"])
        share = sizes[name] / sizes["TFLiteConverter"]
        print(f"  {name:43} {median:6.2f} s, ratio {ratio:.2f}; {sizes[name]:,} bytes, ratio {share:.3f}", flush=True)
    steps = ["fold.batchnorm", f"quantize.int8:samples={IMAGES}"]
    whole = seconds(lambda: kcompress.compress(model, folder / "whole.tflite", passes=steps, calibration=x))
    print(f"  {'kcompress.compress, which measures as well':43} {whole:6.2f} s", flush=True)


def judge(name: str, row: str, make: Callable[[Path], object], suffix: str) -> None:
    """Make a file and print its bytes, and its quality against the fixture's."""
    path = folder / f"row{suffix}"
    path.unlink(missing_ok=True)
    try:
        make(path)
    except (UnsupportedError, UsageError) as error:
        print(f"  {row:36} not supported: {error}", flush=True)
        return
    source = find(FIXTURES / f"{name}.keras").open(FIXTURES / f"{name}.keras")
    with np.load(FIXTURES / "fashion_mnist.npz") as file:
        test = data.resolve(test=(file["x_test"], file["y_test"])).test
    assert test is not None
    verdict = evaluate(source, [find(path).open(path)], test)[0]
    assert verdict.artifact is not None
    print(
        f"  {row:36} {path.stat().st_size:9,} bytes, accuracy {verdict.artifact:.4f}, drop {verdict.drop:5.2f}, "
        f"agreement {verdict.agreement:.4f}",
        flush=True,
    )


def samples() -> Any:
    with np.load(FIXTURES / "fashion_mnist.npz") as file:
        return file["x_train"][:SAMPLES].astype(np.float32)


def compress(name: str, path: Path, *passes: str) -> object:
    return kcompress.compress(FIXTURES / f"{name}.keras", path, passes=passes, calibration=samples(), overwrite=True)


def accuracy() -> None:
    """8 bits on trained models."""
    for name in ("resnet8", "mobilenet"):
        print(f"{name}, 8-bit weights and activations, {SAMPLES} images, 2,000 test images")
        compress(name, folder / f"{name}.tflite")
        compress(name, folder / f"{name}.onnx", "fold.batchnorm")
        for row, (suffix, make) in _makers(name).items():
            judge(name, row, make, suffix)


def _makers(name: str) -> dict[str, tuple[str, Callable[[Path], object]]]:
    """What a row is called, the suffix of its file, and what makes it."""
    x = samples()
    model = keras.saving.load_model(FIXTURES / f"{name}.keras", compile=False)

    def ours(*steps: str) -> Callable[[Path], object]:
        return lambda path: compress(name, path, "fold.batchnorm", *steps)

    return {
        "kcompress .tflite": (".tflite", ours("quantize.int8")),
        "kcompress .tflite, equalized": (".tflite", ours("equalize.cross_layer", "quantize.int8")),
        "kcompress .tflite, ranges=mse": (".tflite", ours("quantize.int8:ranges=mse")),
        "TFLiteConverter": (".tflite", lambda path: _others.tflite_converter(model, x, path)),
        "ai-edge-quantizer": (
            ".tflite",
            lambda path: _others.ai_edge_quantizer(folder / f"{name}.tflite", x, path),
        ),
        "kcompress .onnx": (".onnx", ours("quantize.int8")),
        "quantize_static": (".onnx", lambda path: _others.onnxruntime_static(folder / f"{name}.onnx", x, path)),
    }


def four_bits() -> None:
    """4-bit weights with 8-bit activations."""
    print(f"resnet8, 4-bit weights and 8-bit activations, {SAMPLES} images")
    for rounding in get_args(find_pass("quantize.weights").model_fields["rounding"].annotation):
        steps = ("fold.batchnorm", f"quantize.weights:bits=4,rounding={rounding}", "quantize.int8")
        judge("resnet8", f"kcompress, {rounding}", lambda path, s=steps: compress("resnet8", path, *s), ".tflite")
    judge(
        "resnet8",
        "ai-edge-quantizer",
        lambda path: _others.ai_edge_quantizer(folder / "resnet8.tflite", samples(), path, 4),
        ".tflite",
    )


def speed() -> None:
    """Static `.onnx` files beside the float one: 8 bits are computed exactly on every processor, 7 are fast on all."""
    for name in ("resnet8", "mobilenet"):
        files = {"float": (), "8 bits": ("quantize.int8",), "7 bits": ("quantize.weights:bits=7", "quantize.int8")}
        paths = {row: folder / f"{name}_{number}.onnx" for number, row in enumerate(files)}
        for row, steps in files.items():
            compress(name, paths[row], "fold.batchnorm", *steps)
        found = medians(list(paths.values()))
        told = ", ".join(f"{row} {found[path] / found[paths['float']]:.2f}" for row, path in paths.items())
        print(f"{name}, static .onnx, latency in times of the float file's: {told}", flush=True)


def medians(paths: list[Path]) -> dict[Path, float]:
    """Latency of each file for one image, in milliseconds, taken in turns."""
    one = {"": samples()[:1]}
    times: dict[Path, list[float]] = {path: [] for path in paths}
    for _ in range(RUNS):
        for path, found in times.items():
            found.append(measure_file(path, one)[0].latency_ms["p50"])
    return {path: statistics.median(found) for path, found in times.items()}


def binary() -> None:
    """One bit per weight in `.onnx`: what a binarized weight takes, tables and scales included, and the speed."""
    print("lenet300, binary kernels, .onnx")
    model = keras.saving.load_model(FIXTURES / "lenet300.keras", compile=False)
    kernels = sum(int(np.prod(weight.shape)) for weight in model.weights if len(weight.shape) > 1)
    rest = 4 * (model.count_params() - kernels)
    compress("lenet300", float_file := folder / "float.onnx")
    compress("lenet300", binary_file := folder / "binary.onnx", "quantize.binary:edges=true")
    times = medians([float_file, binary_file])
    bits = 8 * (formats()["onnx"].describe(binary_file).weight_bytes - rest) / kernels
    ratio = times[binary_file] / times[float_file]
    sizes = [f"{path.stat().st_size:,}" for path in (float_file, binary_file)]
    print(f"  {bits:.2f} bits per binarized weight; latency {ratio:.2f} times the float file's; bytes {sizes}")


def floats() -> None:
    """What stays float in files of real architectures, and how close to Keras's their logits are.

    Kernels are random, so that networks are deep enough for no two roundings to agree: beside another tool's figure.
    """
    for name, size in architectures.SIZES.items():
        started = time.perf_counter()
        x = architectures.images(size, 16)
        model = architectures.build(name, size, x)
        paths = [folder / "ours.tflite", folder / "theirs.tflite"]
        with _others.quiet():
            integers.write(model, x, paths[0])
            _others.tflite_converter(model, x, paths[1])
        found = integers.faults(unpack(paths[0].read_bytes())) or ["integers alone"]
        ours, theirs = (_cosine(path, model, x) for path in paths)
        print(
            f"{name:17} {'; '.join(found)}; cosine to Keras's logits {ours:.3f}, TFLiteConverter's {theirs:.3f}; "
            f"{time.perf_counter() - started:.0f} s",
            flush=True,
        )
        keras.backend.clear_session()


def _cosine(path: Path, model: Any, x: Any) -> float:
    runner, expected = find(path).open(path), np.asarray(model(x, training=False))
    outputs = run_batches(runner, {next(iter(runner.inputs)): x})[0]
    return float((outputs * expected).sum() / np.sqrt((outputs**2).sum() * (expected**2).sum()))


if "--architectures" in sys.argv:
    floats()
else:
    for part in (conversion, accuracy, four_bits, speed, binary):
        part()
