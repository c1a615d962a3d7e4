"""Peak memory of `kcompress compress` without training, against the backend's own plus the model.

    python scripts/bench/memory.py     # about 2 minutes; Linux only; the goal is at most 4 times the model

The backend's own is the peak of a process that runs a tiny model with Keras and writes it in the same format.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
SMALL = (
    "keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), "
    "keras.layers.Dense(2)])"
)
MODELS = {"small": SMALL, "ResNet50": "keras.applications.ResNet50(weights=None)"}


def peak_bytes(*arguments: str) -> int:
    """Peak resident memory of a process, by the operating system's account."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(arguments)}")
    return usage.ru_maxrss * 1024


for name, builder in MODELS.items():
    peak_bytes("-c", f"import keras; {builder}.save({str(folder / f'{name}.keras')!r})")
model_bytes = (folder / "ResNet50.keras").stat().st_size
print(f"ResNet50: {model_bytes / 1e6:.0f} MB")
for suffix in ("keras", "tflite", "onnx"):
    steps = ("--apply", "prune.magnitude:sparsity=0.5", "--apply", "quantize.float16")
    peaks = {}
    for name in MODELS:
        source, target = str(folder / f"{name}.keras"), str(folder / f"{name}.out.{suffix}")
        peaks[name] = peak_bytes("-m", "kcompress.cli", "compress", source, target, *steps)
    extra = peaks["ResNet50"] - peaks["small"]
    print(
        f"  .{suffix}: peak {peaks['ResNet50'] / 1e6:.0f} MB, a tiny model {peaks['small'] / 1e6:.0f} MB; "
        f"the difference is {extra / model_bytes:.2f} times the model"
    )
