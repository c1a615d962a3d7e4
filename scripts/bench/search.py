"""What a search finds, and how fast.

    python scripts/bench/search.py                    # the smallest .tflite within a point; 10 to 30 minutes
    python scripts/bench/search.py --part samplers    # trials that bayes takes to reach the best of random
    python scripts/bench/search.py --part workers     # two workers beside one

Goals, with 40 trials and 15 minutes on two cores: at most half of the bytes of a uniform int8 `.tflite` at a drop of at
most 1.0 point, for resnet8 and mobilenet. bayes reaches the best of 40 random trials with 20 (median of five seeds).
Two workers finish a study at least 1.6 times as fast as one, where each has one thread.

Drops are on the 2,000 test images of the fixtures. With the Debian package dataset-fashion-mnist, training data are its
60,000 training images, which the fixtures' models were made from, and candidates are judged on 4,000 of its other test
images. Else training data are the 6,000 images of the fixtures, and candidates are judged on a fifth of them.
"""

import argparse
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
QUICK = [
    {"pass": "prune.magnitude", "sparsity": {"search": [0.1, 0.9], "groups": "each"}},
    {"pass": "quantize.weights", "bits": {"search": [2, 8], "groups": "each"}},
]
"""Six values for lenet300, without training, so that a trial takes a second."""
TRIALS = 40
SEEDS, FEW, MANY = 5, 20, 40


def training(folder: Path) -> str:
    """A file with the test images of the fixtures, and all training images where there are some."""
    import numpy as np

    from scripts._fashion import part

    found = part("train")
    if found is None:
        return str(DATA)
    path, own = folder / "data.npz", np.load(DATA)
    np.savez(path, x_train=found[0], y_train=found[1], x_test=own["x_test"], y_test=own["y_test"])
    return str(path)


def validation(folder: Path) -> str | None:
    """A file with images that nothing was trained on."""
    import numpy as np

    from scripts._fashion import part

    found = part("t10k")
    if found is None:
        return None
    path = folder / "validation.npz"
    if not path.exists():
        np.savez(path, x=found[0][JUDGED], y=found[1][JUDGED])
    return str(path)


def smallest(names: list[str], folder: Path) -> None:
    """Whole searches, beside uniform int8 files of our own and of TensorFlow's converter."""
    import numpy as np

    from kcompress import compress
    from kcompress import tuning as search
    from kcompress.progress import Hooks

    for name in names:
        source = FIXTURES / f"{name}.keras"
        own = compress(source, folder / f"8-{name}.tflite", passes=["fold.batchnorm", "quantize.int8"], data=str(DATA))
        other = folder / f"other-{name}.tflite"
        import keras
        from _others import tflite_converter

        tflite_converter(keras.saving.load_model(source), np.load(DATA)["x_train"][:256].astype("float32"), other)
        began = time.perf_counter()
        hooks = Hooks(log=lambda line: print(f"  {line}", flush=True))
        report = search(
            *(source, folder / f"{name}.tflite"),
            data=training(folder),
            validation=validation(folder),
            max_drop=1.0,
            trials=TRIALS,
            workers=2,
            hooks=hooks,
        )
        seconds = time.perf_counter() - began
        found, quality = report.winner.artifact.bytes, report.winner.quality
        shares = [
            f"{found / size:.2f} of {whose} uniform int8 ({size:,})"
            for whose, size in (("our", own.artifact.bytes), ("TFLiteConverter's", other.stat().st_size))
        ]
        interval = f"95 %: {quality.ci95[0]:.2f} to {quality.ci95[1]:.2f}"
        print(f"{name}: {found:,} bytes, {', '.join(shares)}; drop {quality.drop:.2f} ({interval})", flush=True)
        print(f"{name}: {len(report.trials)} trials, {seconds / 60:.1f} minutes in all", flush=True)


def bests(report: Any, limit: float) -> list[float]:
    """The smallest file within the drop allowed after each trial; infinity where there is none yet."""
    found, best = [], float("inf")
    for trial in report.trials:
        figures = trial.figures
        if trial.state == "done" and figures.drop is not None and figures.drop <= limit:
            best = min(best, figures.bytes)
        found.append(best)
    return found


def one_search(folder: Path, sampler: str, seed: int) -> list[float]:
    """The smallest file within a point after each trial of one search."""
    from kcompress import tuning as search

    report = search(
        *(FIXTURES / "lenet300.keras", folder / f"{sampler}{seed}.keras"), passes=QUICK, data=str(DATA),
        validation=validation(folder), max_drop=1.0, trials=MANY, sampler=sampler, seed=seed,
    )  # fmt: skip
    return bests(report, 1.0)


def samplers(folder: Path) -> None:
    """Trials that bayes takes to reach the best of random, each search on one worker; two searches at a time."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    from statistics import median

    validation(folder)
    took = []
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = [
            [pool.submit(one_search, folder, sampler, seed) for sampler in ("random", "bayes")] for seed in range(SEEDS)
        ]
        for seed, (random, bayes) in enumerate((each[0].result(), each[1].result()) for each in found):
            goal = random[-1]
            took.append(next((n for n, size in enumerate(bayes, 1) if size <= goal), MANY + 1))
            sizes = f"random {goal:,.0f} bytes, bayes {bayes[FEW - 1]:,.0f} after {FEW}, {bayes[-1]:,.0f} after {MANY}"
            print(f"seed {seed}: {sizes}; it reached the best of random after {took[-1]}", flush=True)
    print(f"bayes takes {median(took)} trials to reach the best of {MANY} random ones (median; goal {FEW})")


def workers(folder: Path) -> None:
    """A study by one worker and by two, each with one thread; without what is built in the end."""
    from kcompress import tuning as search

    passes = [
        {"pass": "prune.magnitude", "sparsity": {"search": [0.3, 0.6]}},
        {"pass": "train.distill", "steps": 120},
    ]
    seconds = []
    for count in (1, 2):
        report = search(
            *(FIXTURES / "resnet8.keras", folder / f"{count}.keras"), passes=passes, data=str(DATA), max_size="1MB",
            trials=16, sampler="random", effort=1.0, workers=count, threads=1,
        )  # fmt: skip
        seconds.append(report.seconds - sum(entry.report.seconds for entry in report.rebuilt))
        print(f"{count} worker(s): {len(report.trials)} trials in {seconds[-1]:.1f} s", flush=True)
    print(f"two workers are {seconds[0] / seconds[1]:.2f} times as fast as one (goal 1.6)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("smallest", "samplers", "workers"), default="smallest")
    parser.add_argument("--model", choices=("resnet8", "mobilenet"), help="only this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.part == "smallest":
            smallest([options.model] if options.model else ["resnet8", "mobilenet"], Path(folder))
        else:
            {"samplers": samplers, "workers": workers}[options.part](Path(folder))


if __name__ == "__main__":
    main()
