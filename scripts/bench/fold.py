"""How far `fold.batchnorm` moves the outputs of the architectures of keras.applications, in float32.

    python scripts/bench/fold.py             # all with batch normalization, about 9 minutes; the goal is 1e-4
    python scripts/bench/fold.py MobileNet   # those whose name begins so

Kernels are random and statistics as after training. Figures are the largest difference of logits over the largest
logit; the control is that of an input that is off by 1e-7, which tells how much rounding alone moves a model.
"""

import sys
import time
from pathlib import Path

from kcompress import backend

keras = backend.load("tensorflow")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from kcompress.passes import find
from kcompress.passes.base import Context
from tests.passes.fold.statistics import randomized

LARGER = ("Inception", "Xception", "NASNet")  # these need inputs of more than 64 pixels
WITHOUT = ("VGG", "ConvNeXt")
chosen = tuple(sys.argv[1:]) or ("",)
names = [n for n in dir(keras.applications) if n[0].isupper() and not n.startswith(WITHOUT) and n.startswith(chosen)]
for name in names:
    started = time.perf_counter()
    keras.utils.set_random_seed(0)
    size = 96 if name.startswith(LARGER) else 64
    settings = {"weights": None, "input_shape": (size, size, 3), "classifier_activation": None}
    model = getattr(keras.applications, name)(**settings)
    samples = np.random.default_rng(0).uniform(0, 255, (8, size, size, 3)).astype(np.float32)
    randomized(model, samples)
    result = find("fold.batchnorm")().apply(model, Context())
    expected = model.predict(samples, verbose=0)
    largest = np.abs(expected).max()
    moved = np.abs(result.model.predict(samples, verbose=0) - expected).max() / largest
    control = np.abs(model.predict(samples * np.float32(1 + 1e-7), verbose=0) - expected).max() / largest
    print(
        f"{name}: {len(result.changes)} folded, {len(result.skipped)} declined, relative difference {moved:.1e}, "
        f"control {control:.1e}, {time.perf_counter() - started:.0f} s",
        flush=True,
    )
    keras.backend.clear_session()
