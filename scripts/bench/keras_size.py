"""Size of .keras files whose weights lie on a grid, against the integers themselves under LZMA.

    python scripts/bench/keras_size.py     # about 1 minute; goals: at most 1.10 for powers of two, 1.40 for floats

The reference is one LZMA stream (preset 9, extreme) of all that is needed at least: the whole numbers of all kernels,
`bits` each and packed back to back, then every other weight as raw float32. It holds neither the scales nor the
architecture, which a file needs as well; the second ratio has config.json in the same stream, the third the file's
weights alone against the first.
"""

import lzma
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

from kcompress import backend

keras = backend.load("tensorflow")

import numpy as np

from kcompress.formats import WriteOptions, formats
from kcompress.formats.keras.format import WEIGHTS, load
from kcompress.model.view import nodes
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import QuantPlan

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
warnings.simplefilter("ignore")
path = Path(tempfile.mkdtemp()) / "o.keras"


def mobilenet_v2():
    """MobileNetV2 with normal weights of He's variance; statistics and biases are random too."""
    model = keras.applications.MobileNetV2(alpha=0.5, weights=None, input_shape=(96, 96, 3))
    random = np.random.default_rng(0)
    for variable in model.weights:
        if len(variable.shape) > 1:
            variable.assign(random.normal(0, (2 / np.prod(variable.shape[:-1])) ** 0.5, variable.shape))
        elif "variance" in variable.path or "gamma" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        else:
            variable.assign(random.normal(0, 0.1, variable.shape))
    return model


def packed(model, plan):
    levels, others, bits = [], [], 0
    for node in nodes(model):
        for weight in node.weights:
            format = plan.weights.get(node.qualified(weight))
            if format is None:
                others.append(weight.values.astype(np.float32).tobytes())
            else:
                levels.append(format.levels(weight.values).ravel())
                bits = format.bits
    digits = np.unpackbits(np.concatenate(levels).astype(np.int8).view(np.uint8)[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(digits).tobytes() + b"".join(others)


def squeezed(data):
    return len(lzma.compress(data, lzma.FORMAT_ALONE, preset=9 | lzma.PRESET_EXTREME))


print("model        bits  scale             bytes  ratio with config weights seconds  goal")
for name in ("lenet300", "resnet8", "mobilenet", "MobileNetV2"):
    model = mobilenet_v2() if name == "MobileNetV2" else load(FIXTURES / f"{name}.keras")
    for bits in (8, 4):
        for scale, goal in (("power_of_two", 1.10), ("float", 1.40)):
            result = find("quantize.weights")(bits=bits, scale=scale).apply(model, Context())
            plan = QuantPlan(result.formats)
            started = time.perf_counter()
            formats()["keras"].write(result.model, plan, path, WriteOptions())
            seconds = time.perf_counter() - started
            with zipfile.ZipFile(path) as archive:
                config, stored = archive.read("config.json"), archive.getinfo(WEIGHTS).compress_size
            least, size = packed(result.model, plan), path.stat().st_size
            bound = squeezed(least)
            ratios = size / bound, size / squeezed(least + config), stored / bound
            print(
                f"{name:12}{bits:5}  {scale:13}{size:10,}{ratios[0]:7.3f}{ratios[1]:12.3f}{ratios[2]:8.3f}"
                f"{seconds:8.1f}  {goal:.2f}",
                flush=True,
            )
