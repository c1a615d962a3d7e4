"""What a search finds, and how fast.

    python scripts/bench/search.py                    # the smallest .tflite within a point; 10 to 30 minutes
    python scripts/bench/search.py --part samplers    # trials that bayes takes to reach the best of random
    python scripts/bench/search.py --part workers     # two workers beside one

Goals, with 40 trials and 15 minutes on two cores: at most half of the bytes of a uniform int8 `.tflite` at a drop of at
most 1.0 point, for resnet8 and mobilenet. bayes reaches the best of 40 random trials with 20 (median of five seeds). Two
workers finish a study at least 1.6 times as fast as one, where each has one thread.

Training data are the 6,000 images of the fixtures, drops are on their 2,000 test images. Candidates are judged on 4,000
other test images of Fashion-MNIST where the Debian package dataset-fashion-mnist is installed, since the fixtures'
models were trained on all training images; else on a fifth of the training data.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
DATA = FIXTURES / "fashion_mnist.npz"
JUDGED = slice(2000, 6000)
"""Test images that are not among the fixtures'."""
BITS = ["fold.batchnorm", {"pass": "quantize.weights", "bits": {"search": [2, 8], "groups": 4}, "rounding": "gptq"}]
"""A study without training: every trial takes seconds."""


def validation(folder: Path) -> str | None:
    """A file with images that nothing was trained on."""
    import numpy as np

    from scripts._fashion import part

    found = part("t10k")
    if found is None:
        return None
    path = folder / "validation.npz"
    np.savez(path, x=found[0][JUDGED], y=found[1][JUDGED])
    return str(path)


def smallest(names: list[str], folder: Path) -> None:
    """Whole searches, beside uniform int8 files of our own and of TensorFlow's converter."""
    import numpy as np

    from kcompress import compress, search
    from kcompress.run import Hooks

    for name in names:
        source = FIXTURES / f"{name}.keras"
        own = compress(source, folder / "8.tflite", passes=["fold.batchnorm", "quantize.int8"], data=str(DATA))
        other = folder / "other.tflite"
        import keras
        from _others import tflite_converter

        tflite_converter(keras.saving.load_model(source), np.load(DATA)["x_train"][:256].astype("float32"), other)
        began = time.perf_counter()
        hooks = Hooks(log=lambda line: print(f"  {line}", flush=True))
        report = search(
            *(source, folder / f"{name}.tflite"), data=str(DATA), validation=validation(folder), max_drop=1.0, hooks=hooks
        )
        found, seconds = report.winner.artifact.bytes, time.perf_counter() - began
        quality = report.winner.quality
        print(
            f"{name}: {found:,} bytes, {found / own.artifact.bytes:.2f} of int8 ({own.artifact.bytes:,}), "
            f"{found / other.stat().st_size:.2f} of TFLiteConverter's ({other.stat().st_size:,}); drop {quality.drop:.2f} "
            f"(95 %: {quality.ci95[0]:.2f} to {quality.ci95[1]:.2f}); {len(report.trials)} trials, {seconds / 60:.1f} minutes",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("smallest", "samplers", "workers"), default="smallest")
    parser.add_argument("--model", choices=("resnet8", "mobilenet"), help="only this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.part == "smallest":
            smallest([options.model] if options.model else ["resnet8", "mobilenet"], Path(folder))


if __name__ == "__main__":
    main()
