"""What training costs, beside Keras's own fit.

    python scripts/bench/train.py               # ratios of steps, TensorFlow, CPU; about 9 minutes
    python scripts/bench/train.py --part resnet8 --backend torch     # or jax
    python scripts/bench/train.py --accuracy    # what training gives back, on Fashion-MNIST; about 10 minutes

Goals: a step with pruned kernels takes at most 1.05 times a plain one, distillation from cached outputs at most 1.10,
quantization-aware at most 1.15; plain fine-tuning at least 1.7 times as fast as `fit` on arrays with Keras's defaults
on a processor without AVX-512, where TensorFlow leaves oneDNN off. Drops: lenet300 with 95 % zeros at most 0.5 points,
resnet8 at macs=0.5 at most 0.5, at 4 bits at most 0.5, lenet300 with binary hidden layers at most 2.0, and a student of
a quarter of resnet8's width at least 1.0 point better than on labels alone, over three seeds.

Times are of epochs of 40 steps: the tenth part of them that was fastest tells the ratios of steps, the kinds taking
turns after every epoch, and the mean, with whatever stalls there were, what `fit` takes. TensorFlow Model Optimization,
where it is installed, does the same to a model of the same layers under tf_keras. Data for drops are the 60,000 images
of Fashion-MNIST where the Debian package dataset-fashion-mnist is installed, else the 6,000 of the fixtures; students
see those 6,000.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
sys.path.insert(0, str(ROOT))
EPOCHS, STEPS, BATCH = 20, 40, 32
CHILD = """
import sys, time
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
data = np.load(sys.argv[2])
ends = []
class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None): self.began = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None): ends.append(time.perf_counter() - self.began)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(data["x_train"], data["y_train"], batch_size={batch}, epochs={epochs}, verbose=0, callbacks=[Clock()])
print(sum(ends[1:]) / len(ends[1:]) / {steps})
"""
SIMPLER = {"TF_ENABLE_ONEDNN_OPTS": "0", "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}
"""What TensorFlow does on a processor without AVX-512; what remains of it is in code that has no such switch."""


def few(folder: Path) -> Path:
    """Training data for an epoch of STEPS."""
    import numpy as np

    data = dict(np.load(FIXTURES / "fashion_mnist.npz"))
    path = folder / "few.npz"
    np.savez(path, **{**data, "x_train": data["x_train"][: STEPS * BATCH], "y_train": data["y_train"][: STEPS * BATCH]})
    return path


def typical(seconds: list[float]) -> float:
    """What a step takes when nothing else disturbs."""
    import numpy as np

    return float(np.quantile(seconds, 0.1)) / STEPS


def show(times: dict[str, list[float]], of: str) -> None:
    for name, seconds in times.items():
        ratio = typical(seconds) / typical(times["plain"])
        print(f"{of} {name:22} {typical(seconds) * 1000:5.1f} ms a step, {ratio:.2f} of a plain one", flush=True)


def in_turn(works: Sequence[Callable[[Callable[..., None]], None]]) -> None:
    """Run all, each in a thread of its own, one at a time; what they are given lets the next one go on."""
    turns = [threading.Semaphore(0) for _ in works]
    over: set[int] = set()

    def run(number: int, work: Callable[[Callable[..., None]], None]) -> None:
        def next_one() -> None:
            left = [other for other in range(len(works)) if other not in over]
            if left:
                turns[min(left, key=lambda other: (other <= number, other))].release()

        def wait(*_: Any) -> None:
            next_one()
            turns[number].acquire()

        turns[number].acquire()
        try:
            work(wait)
        finally:
            over.add(number)
            next_one()

    threads = [threading.Thread(target=run, args=given) for given in enumerate(works)]
    for thread in threads:
        thread.start()
    turns[0].release()
    for thread in threads:
        thread.join()


def ratios(architecture: str, file: Path, running: str) -> None:
    """Seconds of a step of each kind, as shares of a plain one, on a backend of Keras."""
    from kcompress import backend

    keras = backend.load(running)
    from kcompress.data import resolve
    from kcompress.passes import find
    from kcompress.passes.base import Context, TrainingContext
    from kcompress.training.teachers import Teacher

    source = FIXTURES / f"{architecture}.keras"
    teachers = (Teacher.from_file(source, ()),)
    data = resolve(str(file))
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
            plan = context.plan.updated(result.formats, result.activations)
            model, context = result.model, Context(data=data, plan=plan)
        starts[name] = model, context.plan
    times: dict[str, list[float]] = {name: [] for name in kinds}

    def trained(name: str) -> Callable[[Callable[..., None]], None]:
        def work(wait: Callable[..., None]) -> None:
            model, plan = starts[name]
            step = kinds[name][1](epochs=EPOCHS, batch=BATCH, batchnorm="keep")
            history = step.apply(
                model, Context(data=data, plan=plan, training=TrainingContext(teachers), log=wait)
            ).history
            times[name] += [entry["seconds"] for entry in history[2:]]  # the first hold the compilation

        return work

    in_turn([trained(name) for name in kinds])
    show(times, f"{architecture} on {running}")


def tfmot(file: Path) -> None:
    """The same of TensorFlow Model Optimization, on the layers of resnet8 without batch normalization."""
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}
    import numpy as np
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras

    layers = tf_keras.layers

    def resnet() -> Any:
        def convolved(h: Any, filters: int, strides: int, size: int = 3) -> Any:
            return layers.Conv2D(filters, size, strides, padding="same")(h)

        image = layers.Input((28, 28, 1))
        h = layers.ReLU()(convolved(image, 16, 1))
        for filters, strides in ((16, 1), (32, 2), (64, 2)):
            inner = convolved(layers.ReLU()(convolved(h, filters, strides)), filters, 1)
            h = layers.ReLU()(layers.Add()([inner, h if strides == 1 else convolved(h, filters, strides, 1)]))
        return tf_keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(h)))

    constant = tfmot.sparsity.keras.ConstantSparsity(0.8, 0, frequency=100)
    models = {
        "plain": resnet(),
        "pruned": tfmot.sparsity.keras.prune_low_magnitude(resnet(), constant),
        "int8": tfmot.quantization.keras.quantize_model(resnet()),
    }
    data = np.load(file)
    options = tf.data.Options()
    options.autotune.enabled = False
    images = data["x_train"].astype(np.float32) / 255
    batches = tf.data.Dataset.from_tensor_slices((images, data["y_train"].astype(np.int32))).batch(BATCH)
    times: dict[str, list[float]] = {name: [] for name in models}

    class Clock(tf_keras.callbacks.Callback):  # type: ignore[misc]  # no types
        def __init__(self, name: str, wait: Callable[..., None]) -> None:
            super().__init__()
            self.name, self.wait = name, wait

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch > 1:
                times[self.name].append(time.perf_counter() - self.began)
            self.wait()

    def trained(name: str) -> Callable[[Callable[..., None]], None]:
        def work(wait: Callable[..., None]) -> None:
            models[name].compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            more = [tfmot.sparsity.keras.UpdatePruningStep()] if name == "pruned" else []
            feed = batches.prefetch(2).with_options(options)
            models[name].fit(feed, epochs=EPOCHS, verbose=0, callbacks=[*more, Clock(name, wait)])

        return work

    in_turn([trained(name) for name in models])
    show(times, "tfmot")


def against_fit(file: Path) -> None:
    """Plain fine-tuning beside Keras's fit on arrays, each in a process of its own."""
    code = CHILD.format(batch=BATCH, epochs=EPOCHS, steps=STEPS)
    files = [str(FIXTURES / "resnet8.keras"), str(file)]
    plain = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"} | {"KERAS_BACKEND": "tensorflow"}

    def seconds(command: list[str], environment: dict[str, str]) -> float:
        done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])

    for name, theirs, mine in (
        ("here", plain, plain),
        ("as without AVX-512", plain | SIMPLER, plain | {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ):
        other = seconds(["-c", code, *files], theirs)
        own = seconds([__file__, "--part", "own", "--file", str(file)], mine)
        figures = f"{other * 1000:.1f} ms a step, {other / own:.2f} times ours ({own * 1000:.1f})"
        print(f"fit on arrays with Keras's defaults, {name}: {figures}", flush=True)


def own(file: Path) -> None:
    """Seconds of a step of train.finetune, on average."""
    from kcompress import backend

    keras = backend.load("tensorflow")
    from kcompress.data import resolve
    from kcompress.passes import find
    from kcompress.passes.base import Context

    model = keras.saving.load_model(FIXTURES / "resnet8.keras")
    step = find("train.finetune")(epochs=EPOCHS, batch=BATCH, batchnorm="keep")
    history = step.apply(model, Context(data=resolve(str(file)))).history[1:]
    print(sum(entry["seconds"] for entry in history) / len(history) / STEPS)


def training_file(folder: Path) -> Path:
    """All there is of Fashion-MNIST to train on, with the fixtures' test images, as one file."""
    import numpy as np

    from scripts._fashion import part

    own_data = dict(np.load(FIXTURES / "fashion_mnist.npz"))
    if found := part("train"):
        own_data["x_train"], own_data["y_train"] = found
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
            [
                "prune.structured:macs=0.5,criterion=taylor",
                "train.distill:epochs=3,batch=64,learning_rate=0.003,temperature=1,alpha=1",
            ],
            0.5,
        ),
        ("resnet8, 4 bits", resnet, ["fold.batchnorm", "quantize.weights:bits=4", "train.distill:steps=600"], 0.5),
        ("lenet300, binary", lenet, ["quantize.binary:edges=true,skip=head", "train.distill:epochs=3"], 2.0),
    ]
    with tempfile.TemporaryDirectory() as folder:
        data = training_file(Path(folder))
        for name, source, passes, goal in goals:
            report = compress(source, Path(folder, "o.keras"), passes=passes, data=str(data), overwrite=True)
            zeros = 1 - report.artifact.nonzero / report.artifact.parameters
            print(f"{name}: drop {report.quality.drop:.2f} points (goal {goal}), {zeros:.1%} zeros", flush=True)
    gains = []
    for seed in range(3):
        found = [student(kind, seed) for kind in ("alpha=1,temperature=1,features=auto", "alpha=0")]
        gains.append(found[0] - found[1])
        print(f"quarter width, seed {seed}: {found[0]:.2f} distilled, {found[1]:.2f} on labels", flush=True)
    print(f"distillation gains {sum(gains) / len(gains):.2f} points (goal 1.0)")


def student(settings: str, seed: int) -> float:
    """Accuracy, in percent, of a quarter-width student of resnet8 after ten epochs of the fixtures' 6,000 images."""
    from kcompress import compress

    step = f"train.distill:student=train:quarter,epochs=10,learning_rate=0.01,{settings}"
    data = str(FIXTURES / "fashion_mnist.npz")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "o.keras")
        return 100 * compress(FIXTURES / "resnet8.keras", path, passes=[step], data=data, seed=seed).quality.artifact


def everything(file: Path) -> None:
    """Each part in a process of its own."""
    for name in ("resnet8", "mobilenet", "tfmot"):
        command = [sys.executable, __file__, "--part", name, "--file", str(file)]
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout if not done.returncode else f"{name}: {done.stderr.splitlines()[-1]}", flush=True)
    against_fit(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accuracy", action="store_true", help="drops of whole runs instead of times")
    parser.add_argument("--part", choices=("resnet8", "mobilenet", "tfmot", "own"), help="only this")
    parser.add_argument("--backend", default="tensorflow", help="of Keras, for the parts resnet8 and mobilenet")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.accuracy:
        sys.path.insert(0, str(Path(__file__).parent))  # for student=train:quarter
        return accuracy()
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or few(Path(folder))
        if options.part in ("resnet8", "mobilenet"):
            return ratios(options.part, file, options.backend)
        return {"own": own, "tfmot": tfmot, None: everything}[options.part](file)


if __name__ == "__main__":
    main()
