"""What structured pruning costs and gains.

    python scripts/bench/structured.py                 # speed, memory and latency on ResNets; about 2 minutes
    python scripts/bench/structured.py --all           # every architecture of keras.applications; about 10 minutes
    python scripts/bench/structured.py --accuracy      # criteria on resnet8 and mobilenet; about 8 minutes

Goals: plan and rebuild of ResNet50 in at most 3 s, growing linearly with layers, with at most 3 times the model in
memory; LiteRT latency at macs=0.5 at most 0.6 of the original; in every architecture the same outputs, to 1e-4, once
nothing reads the channels that go; at macs=0.5 and a short training a drop of at most 1 point, less than at random.

The training is Adam on the source model's own probabilities, two epochs for resnet8 and five for mobilenet, over the
60,000 training images of Fashion-MNIST where the Debian package dataset-fashion-mnist is installed; else ten times as
many over the 6,000 of the fixtures.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from kcompress import backend

keras = backend.load("tensorflow")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from kcompress.formats import WriteOptions, formats
from kcompress.model.cost import macs
from kcompress.model.view import nodes, own_name, parameters
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import QuantPlan
from scripts._fashion import part
from tests.channels.cutting import difference, some_units, zeroed
from tests.passes.fold.statistics import randomized

LARGER = ("Inception", "Xception", "NASNet")  # these need inputs of more than 64 pixels
BATCH = 128
RUNS = 25
EPOCHS = {"resnet8": 2, "mobilenet": 5}
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def build(name: str, size: int = 224) -> Any:
    keras.utils.set_random_seed(0)
    settings = {"weights": None, "input_shape": (size, size, 3), "classifier_activation": None}
    return getattr(keras.applications, name)(**settings)


def speed() -> None:
    """Seconds of `prune.structured:macs=0.5`, without what the base class checks; memory in a process of its own."""
    structured = find("prune.structured")(macs=0.5)
    structured.run(build("MobileNet", 64), Context())
    for name in ("ResNet50", "ResNet101", "ResNet152"):
        model = build(name)
        layers = len(nodes(model))
        started = time.perf_counter()
        found = channels(model)
        plan = time.perf_counter() - started
        result = structured.run(model, Context())
        whole = time.perf_counter() - started - plan
        share = macs(result.model) / macs(model)
        print(
            f"{name}: {layers} layers, {whole:.2f} s for plan and rebuild ({1000 * whole / layers:.1f} ms a layer), "
            f"following {found.units.count:,} units {plan:.2f} s of it; {share:.4f} of the multiply-adds left",
            flush=True,
        )
        keras.backend.clear_session()
    child = subprocess.run([sys.executable, __file__, "--memory"], capture_output=True, text=True, check=True)
    print(child.stdout, end="", flush=True)


def memory() -> None:
    """The peak of this process over what it took before the model was there, for the model and what is made of it."""
    structured = find("prune.structured")(macs=0.5)
    structured.run(build("MobileNet", 64), Context())
    keras.backend.clear_session()
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    model = build("ResNet50")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building it
    structured.run(model, Context())
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    size = 4 * parameters(model)
    print(f"ResNet50: {size / 1e6:.0f} MB; peak with what is made of it {(peak - before) / size:.2f} times that")


def latency() -> None:
    """Median milliseconds of the LiteRT files of ResNet50, whole and pruned, in turns in one process."""
    model = build("ResNet50")
    pruned = find("prune.structured")(macs=0.5).run(model, Context()).model
    rounded = find("prune.structured")(macs=0.5, round_to=8).run(model, Context()).model
    folder, file_format = Path(tempfile.mkdtemp()), formats()["tflite"]
    runners, x = [], np.random.default_rng(0).random((1, 224, 224, 3), np.float32)
    for number, each in enumerate((model, pruned, rounded)):
        file_format.write(each, QuantPlan(), folder / f"{number}.tflite", WriteOptions(batch=1))
        runners.append(file_format.open(folder / f"{number}.tflite"))
    times: list[list[float]] = [[] for _ in runners]
    for _ in range(RUNS):
        for runner, own in zip(runners, times, strict=True):
            started = time.perf_counter()
            runner({next(iter(runner.inputs)): x})
            own.append(1000 * (time.perf_counter() - started))
    whole, *others = (statistics.median(own) for own in times)
    ratios = " and, with round_to=8, ".join(f"{other:.1f} ms ({other / whole:.2f})" for other in others)
    print(f"ResNet50 in LiteRT: {whole:.1f} ms; at macs=0.5 {ratios}", flush=True)


def everything(chosen: list[str]) -> None:
    """Cut 30 % of the units of every architecture at random."""
    names = [name for name in dir(keras.applications) if name[0].isupper()]
    for name in names:
        if chosen and not name.startswith(tuple(chosen)):
            continue
        size = 96 if name.startswith(LARGER) else 64
        x = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
        model = randomized(build(name, size), x)
        for node in nodes(model):
            if type(node.layer).__name__ == "LayerScale":  # 1e-6 before training, which hides what it scales
                node.layer.gamma.assign(np.random.default_rng(0).uniform(0.2, 0.4, node.layer.gamma.shape))
        started = time.perf_counter()
        found = channels(model)
        planned = time.perf_counter() - started
        dropped = some_units(found, 0, 0.3)
        started = time.perf_counter()
        smaller = cut(model, found, dropped)
        rebuilt = time.perf_counter() - started
        moved = difference(zeroed(model, found, dropped), smaller, [x])
        alike = [own_name(w) for w in smaller.weights] == [own_name(w) for w in model.weights]
        unknown = sorted({why for why in found.units.pinned.values() if "output of the model" not in why})
        more = f"; stay: {len(unknown)} reasons such as '{unknown[0]}'" if unknown else ""
        print(
            f"{name}: {found.units.count:,} units, {len(found.units.pinned):,} stay, "
            f"{smaller.count_params() / model.count_params():.2f} of the parameters left, {planned:.2f} s to follow, "
            f"{rebuilt:.2f} s to rebuild, relative difference {moved:.1e}"
            f"{'' if alike else ', WEIGHTS IN ANOTHER ORDER'}{more}",
            flush=True,
        )
        keras.backend.clear_session()


def images() -> tuple[Any, int]:
    """Training images, and by what the number of epochs is multiplied."""
    if found := part("train"):
        return found[0], 1
    with np.load(FIXTURES / "fashion_mnist.npz") as fixture:
        return fixture["x_train"], 10


def fit(model: Any, teacher: Any, x: Any, epochs: int) -> None:
    """Train on the teacher's probabilities for images that are mirrored at random."""
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    steps = epochs * (len(x) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "kl_divergence", jit_compile=False)
    ask, random = tf.function(teacher), np.random.default_rng(0)
    for _ in range(epochs):
        order = random.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = x[order[start : start + BATCH]].astype(np.float32)
            mirrored = random.random(len(batch)) < 0.5
            batch[mirrored] = batch[mirrored, :, ::-1]
            model.train_on_batch(batch, ask(batch, training=False))


def accuracy() -> None:
    """Points lost at macs=0.5 with each criterion, before and after the training."""
    from kcompress import data

    x, times = images()
    with np.load(FIXTURES / "fashion_mnist.npz") as fixture:
        tests, labels = fixture["x_test"], fixture["y_test"]
    context = Context(data=data.resolve(str(FIXTURES / "fashion_mnist.npz")))

    def right(model: Any) -> float:
        return 100 * float((model.predict(tests, batch_size=500, verbose=0).argmax(-1) == labels).mean())

    print(f"macs=0.5, trained on {len(x):,} images; points lost on {len(labels):,} test images")
    for name, epochs in EPOCHS.items():
        source = keras.models.load_model(FIXTURES / f"{name}.keras")
        best = right(source)
        for criterion in ("taylor", "l1", "random"):
            result = find("prune.structured")(macs=0.5, criterion=criterion).run(source, context)
            before, started = right(result.model), time.perf_counter()
            fit(result.model, source, x, times * epochs)
            print(
                f"  {name} ({best:.2f}), {criterion}: {best - before:.2f}, after {times * epochs} epochs "
                f"{best - right(result.model):.2f} ({time.perf_counter() - started:.0f} s)",
                flush=True,
            )


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--all", action="store_true")
parser.add_argument("--accuracy", action="store_true")
parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
parser.add_argument("names", nargs="*", help="with --all: only architectures whose names begin so")
options = parser.parse_args()
if options.memory:
    memory()
elif options.all:
    everything(options.names)
elif options.accuracy:
    accuracy()
else:
    speed()
    latency()
