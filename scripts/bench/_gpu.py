"""One training for gpu.sh, in a process of its own: `_gpu.py WHAT EPOCHS BATCH`."""

import itertools
import sys
import time
from pathlib import Path

import keras
import numpy as np

from kcompress.data import resolve
from kcompress.passes import find
from kcompress.passes.base import Context, TrainingContext
from kcompress.training.teachers import Teacher

SOURCE, DATA = Path("fixtures/resnet8.keras"), Path("fixtures/fashion_mnist.npz")
REPEATED = 10  # 60,000 images an epoch, for the 6,000 of the fixtures are over too soon
PASSES = {
    "finetune": [],
    "distill": [],
    "pruned": ["prune.magnitude"],
    "quantized": ["quantize.weights"],
}


def main(what: str, epochs: int, batch: int) -> None:
    import jax

    data = np.load(DATA)
    x, y = (np.concatenate([data[name]] * REPEATED) for name in ("x_train", "y_train"))
    model = keras.saving.load_model(SOURCE)
    context = Context(
        data=resolve((x, y), test=(data["x_test"], data["y_test"])),
        training=TrainingContext((Teacher.from_file(SOURCE, ()),)),
    )
    model = find("prune.structured")(macs=0.5).apply(model, context).model
    plan = context.plan
    if what == "fit":
        model, seconds = plain(model, x, y, epochs, batch)
    else:
        for name in PASSES[what]:
            result = find(name)(**({"bits": 4} if name == "quantize.weights" else {})).apply(model, context)
            model, plan = result.model, plan.updated(result.formats)
        name = "train.finetune" if what == "finetune" else "train.distill"
        result = find(name)(epochs=epochs, batch=batch).apply(
            model, Context(context.data, plan=plan, training=context.training)
        )
        model, seconds = result.model, [entry["seconds"] for entry in result.history]
    scores = model.predict(data["x_test"], batch_size=500, verbose=0)
    accuracy = float((scores.argmax(-1) == data["y_test"]).mean())
    rate = len(x) // batch * batch / min(seconds[1:])
    peak = jax.devices()[0].memory_stats()["peak_bytes_in_use"] if jax.devices()[0].memory_stats() else 0
    figures = f"{rate:10,.0f} images/s   {peak / 1e6:8.1f} MB at most   accuracy {accuracy:.4f}"
    print(f"{what:10} {figures}   first epoch {seconds[0]:.1f} s")


def plain(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int, batch: int) -> tuple[keras.Model, list[float]]:
    """Keras's own fit on arrays; the seconds of each epoch."""
    times = [time.perf_counter()]

    class Clock(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            times.append(time.perf_counter())

    steps = epochs * (len(x) // batch)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)), "sparse_categorical_crossentropy"
    )
    model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0, callbacks=[Clock()])
    return model, [later - sooner for sooner, later in itertools.pairwise(times)]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
