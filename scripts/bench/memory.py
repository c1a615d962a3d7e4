"""Peak memory of `kcompress compress` without training, against Keras's own reading and writing of the same model.

    python scripts/bench/memory.py     # about 3 minutes; Linux only; the goal is at most 4 times the model

The backend's own is the peak of a process in which Keras loads ResNet50 and writes it in the same format. Resident
memory is sampled from outside: kcompress resets the process's own high-water mark when it measures a model's memory.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench._peak import peak_bytes

MODEL = "keras.applications.ResNet50(weights=None)"
WRITERS = {
    "keras": "m.save(target)",
    "tflite": "m.export(target, format='litert', verbose=False)",
    "onnx": "m(np.zeros((1, 224, 224, 3))); m.export(target, format='onnx', opset_version=18, verbose=False)",
}
PASSES = ("--apply", "prune.magnitude:sparsity=0.5", "--apply", "quantize.float16")


folder = Path(tempfile.mkdtemp())
source = str(folder / "model.keras")
subprocess.run([sys.executable, "-c", f"import keras; {MODEL}.save({source!r})"], check=True, capture_output=True)
model_bytes = Path(source).stat().st_size
print(f"ResNet50: {model_bytes / 1e6:.0f} MB")
for suffix, statement in WRITERS.items():
    script = f"import keras, numpy as np; target = {str(folder / f'theirs.{suffix}')!r}; "
    theirs = peak_bytes("-c", f"{script}m = keras.saving.load_model({source!r}); {statement}")
    ours = peak_bytes("-m", "kcompress.cli", "compress", source, str(folder / f"ours.{suffix}"), *PASSES)
    print(
        f"  .{suffix}: peak {ours / 1e6:.0f} MB, Keras alone {theirs / 1e6:.0f} MB; "
        f"the difference is {(ours - theirs) / model_bytes:.2f} times the model"
    )
