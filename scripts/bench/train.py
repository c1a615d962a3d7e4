"""What training costs, beside Keras's own fit.

    python scripts/bench/train.py               # ratios of steps on resnet8, TensorFlow, CPU; about 5 minutes
    python scripts/bench/train.py --accuracy    # what training gives back, on Fashion-MNIST; about 10 minutes

Goals: a step with pruned kernels takes at most 1.05 times a plain one, distillation from cached outputs at most 1.10,
quantization-aware at most 1.15; plain fine-tuning at least 1.7 times as fast as `fit` on arrays with Keras's defaults
on a processor without AVX-512, where TensorFlow leaves oneDNN off. Drops: lenet300 with 95 % zeros at most 0.5 points,
resnet8 at macs=0.5 at most 0.5, at 4 bits at most 0.5, lenet300 with binary hidden layers at most 2.0, and a student of
a quarter of resnet8's width at least 1.0 point better than on labels alone, over three seeds.

Times are the least of several epochs, the kinds taken in turn. Training data are the 60,000 images of Fashion-MNIST
where the Debian package dataset-fashion-mnist is installed, else the 6,000 of the fixtures.
"""

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
sys.path.insert(0, str(ROOT))
IDX = Path("/usr/share/datasets/fashion-mnist")
ROUNDS, STEPS, BATCH = 4, 60, 32
CHILD = """
import sys, time
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
data = np.load(sys.argv[2])
x, y = data["x_train"][:{samples}], data["y_train"][:{samples}]
ends = [0.0]
class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None): self.began = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None): ends.append(time.perf_counter() - self.began)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x, y, batch_size={batch}, epochs={rounds}, verbose=0, callbacks=[Clock()])
print(min(ends[2:]) / (len(x) // {batch}))
"""


def ratios() -> None:
    """Seconds of a step of each kind, as shares of a plain one."""
    from kcompress import backend

    keras = backend.load("tensorflow")
    from kcompress.data import resolve
    from kcompress.passes import find
    from kcompress.passes.base import Context
    from kcompress.training.teachers import Teacher

    source = FIXTURES / "resnet8.keras"
    teachers = (Teacher.from_file(source, ()),)
    data = resolve(str(FIXTURES / "fashion_mnist.npz"))
    kinds: dict[str, tuple[list[Any], Any]] = {
        "plain": ([], find("train.finetune")),
        "pruned": ([find("prune.magnitude")(sparsity=0.8)], find("train.finetune")),
        "distilled": ([], find("train.distill")),
        "4-bit weights": ([find("quantize.weights")(bits=4)], find("train.finetune")),
        "4-bit weights, int8": (
            [find("quantize.weights")(bits=4), find("quantize.int8")(samples=64)],
            find("train.finetune"),
        ),
    }
    folded = find("fold.batchnorm")().apply(keras.saving.load_model(source), Context()).model
    starts = {}
    for name, (steps, _) in kinds.items():
        model, context = folded, Context(data=data)
        for step in steps:
            result = step.apply(model, context)
            plan = context.plan.updated(result.formats, step.computation())
            model, context = result.model, Context(data=data, plan=plan)
        starts[name] = model, context.plan
    least = dict.fromkeys(kinds, float("inf"))
    for _ in range(ROUNDS):
        for name, (_, kind) in kinds.items():
            model, plan = starts[name]
            # the first epoch of each training holds the compilation
            step = kind(steps=STEPS * 3, batch=BATCH, batchnorm="keep")
            history = step.apply(model, Context(data=data, plan=plan, teachers=teachers)).history
            least[name] = min(least[name], *(entry["seconds"] for entry in history[1:] or history))
    for name, seconds in least.items():
        print(f"{name:22} {seconds / least['plain']:.3f} of a plain step")


def against_fit() -> None:
    """Plain fine-tuning beside Keras's fit on arrays, each in a process of its own."""
    code = CHILD.format(samples=STEPS * 3 * BATCH, batch=BATCH, rounds=ROUNDS)
    files = [str(FIXTURES / "resnet8.keras"), str(FIXTURES / "fashion_mnist.npz")]
    plain = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"} | {"KERAS_BACKEND": "tensorflow"}
    found = {}
    for name, environment in (
        ("with Keras's defaults here", plain),
        ("without oneDNN", plain | {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    ):
        done = subprocess.run([sys.executable, "-c", code, *files], env=environment, capture_output=True, text=True)
        found[name] = float(done.stdout.split()[-1])
    own = subprocess.run([sys.executable, __file__, "--own"], env=plain, capture_output=True, text=True, check=True)
    seconds = float(own.stdout.split()[-1])
    for name, other in found.items():
        figures = f"{other * 1000:.1f} ms a step, {other / seconds:.2f} times ours ({seconds * 1000:.1f})"
        print(f"fit on arrays {name}: {figures}")


def own() -> None:
    from kcompress import backend

    keras = backend.load("tensorflow")
    from kcompress.data import resolve
    from kcompress.passes import find
    from kcompress.passes.base import Context

    model = keras.saving.load_model(FIXTURES / "resnet8.keras")
    data = resolve(str(FIXTURES / "fashion_mnist.npz"))
    step = find("train.finetune")(epochs=ROUNDS, batch=BATCH, batchnorm="keep")
    history = step.apply(model, Context(data=data)).history
    print(min(entry["seconds"] for entry in history[1:]) / (data.training.samples // BATCH))


def training_file(folder: Path) -> Path:
    """All there is of Fashion-MNIST to train on, with the fixtures' test images, as one file."""
    import numpy as np

    own_data = dict(np.load(FIXTURES / "fashion_mnist.npz"))
    if IDX.is_dir():
        for name, offset, key in (("images-idx3", 16, "x_train"), ("labels-idx1", 8, "y_train")):
            raw = gzip.decompress((IDX / f"train-{name}-ubyte.gz").read_bytes())[offset:]
            array = np.frombuffer(raw, np.uint8)
            own_data[key] = array.reshape(-1, 28, 28, 1) if "x" in key else array
    path = folder / "data.npz"
    np.savez(path, **own_data)
    return path


def quarter() -> Any:
    """ResNet-8 at a quarter of its width, untrained."""
    import keras

    model = keras.saving.load_model(FIXTURES / "resnet8.keras")
    from kcompress.passes import find
    from kcompress.passes.base import Context

    small = find("prune.structured")(ratio=0.75).apply(model, Context()).model
    return keras.models.clone_model(small)


def accuracy() -> None:
    """Drops of the artifacts of whole runs."""
    from kcompress import compress

    lenet, resnet = FIXTURES / "lenet300.keras", FIXTURES / "resnet8.keras"
    goals: list[tuple[str, Path, list[str], float]] = [
        (
            "lenet300, 95 % zeros",
            lenet,
            ["prune.magnitude:sparsity=0.95,ranking=global,schedule=polynomial", "train.distill:epochs=8"],
            0.5,
        ),
        (
            "resnet8, half the multiply-adds",
            resnet,
            ["prune.structured:macs=0.5,criterion=taylor", "train.distill:epochs=2"],
            0.5,
        ),
        ("resnet8, 4 bits", resnet, ["fold.batchnorm", "quantize.weights:bits=4", "train.distill:steps=600"], 0.5),
        ("lenet300, binary", lenet, ["quantize.binary", "train.distill:epochs=2"], 2.0),
    ]
    with tempfile.TemporaryDirectory() as folder:
        data = training_file(Path(folder))
        for name, source, passes, goal in goals:
            report = compress(source, Path(folder, "o.keras"), passes=passes, data=str(data), overwrite=True)
            zeros = 1 - report.artifact.nonzero / report.artifact.parameters
            print(f"{name}: drop {report.quality.drop:.2f} points (goal {goal}), {zeros:.1%} zeros", flush=True)
        gains = []
        for seed in range(3):
            found = []
            for alpha in (0.9, 0.0):
                step = f"train.distill:student=train:quarter,epochs=1,alpha={alpha},learning_rate=0.003"
                report = compress(
                    resnet, Path(folder, "o.keras"), passes=[step], data=str(data), overwrite=True, seed=seed
                )
                found.append(report.quality.artifact * 100)
            gains.append(found[0] - found[1])
            print(f"quarter width, seed {seed}: {found[0]:.2f} distilled, {found[1]:.2f} on labels", flush=True)
        print(f"distillation gains {sum(gains) / len(gains):.2f} points (goal 1.0)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--own", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.own:
        own()
    elif options.accuracy:
        sys.path.insert(0, str(Path(__file__).parent))
        accuracy()
    else:
        ratios()
        against_fit()
