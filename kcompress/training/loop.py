"""The one fit loop: Keras's own `fit`, an epoch at a time, on an input pipeline of our own.

Left to itself, tf.data tunes its buffers with a timer that stalled `fit` for seconds, and XLA compiles convolutions for
processors slower than TensorFlow runs them with oneDNN. So TensorFlow gets a pipeline that tunes nothing, and is
compiled by XLA only for a GPU; JAX is compiled always.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.training.distribution import array
from kcompress.training.feed import Batch, Feed
from kcompress.training.settings import DEFAULT_EPOCHS, Settings

Compile = Callable[[Any, bool], Any]
"""Takes an optimizer, and whether to compile by XLA, and gives the Keras model to fit."""
BUFFERED = 2
IMPROVED = 1e-6
"""The share by which a loss on validation data has to be lower to be better."""


@dataclass(frozen=True)
class Epoch:
    """Losses of one epoch, means over its batches; `validation` is None without validation data."""

    loss: float
    validation: float | None
    seconds: float


@dataclass
class Outcome:
    """How a training went. `planned` epochs; `best` is the number of the one whose weights were kept, from 1.

    `diverged` is the number of the batch, from 1, whose loss was no finite number, 0 if there was none.
    """

    planned: int
    epochs: list[Epoch] = field(default_factory=list)
    steps: int = 0
    diverged: int = 0
    best: int = 0


@dataclass(frozen=True)
class Plan:
    """How many steps there are, and in which pieces they are taken."""

    steps: int
    per_epoch: int

    @classmethod
    def of(cls, settings: Settings, feed: Feed) -> "Plan":
        each = feed.per_epoch
        return cls(settings.steps or (settings.epochs or DEFAULT_EPOCHS) * each, each)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """The first batch of each epoch, and how many it has."""
        for first in range(0, self.steps, self.per_epoch):
            yield first, min(self.per_epoch, self.steps - first)

    @property
    def epochs(self) -> int:
        return math.ceil(self.steps / self.per_epoch)


class Watch:
    """What a training tells while it goes on, and what is done meanwhile; all of it may be left out."""

    def advance(self, steps: int) -> None:
        """So many steps were done."""

    def epoch(self, number: int, of: int, result: Epoch) -> None:
        """An epoch is over."""

    def progress(self, step: int, of: int) -> None:
        """A step is about to be taken; called only if `needs_steps`."""

    needs_steps = False


def fit(
    learner: Any, variables: Sequence[Any], feed: Feed, validation: Feed | None, plan: Plan, patience: int | None,
    watch: Watch,
) -> Outcome:  # fmt: skip
    """Fit a compiled learner. `variables` are all that training changes in the model.

    With validation data, the weights of the best epoch are kept, and training stops after `patience` epochs that were
    no better. Where the loss is no longer a finite number, the weights of the epoch before are put back.
    """
    outcome = Outcome(plan.epochs)
    kept, best, waited = _values(variables), math.inf, 0
    _assign(variables, kept)  # a backend that reuses memory must not have that of a model with the same values
    for first, count in plan.pieces():
        began = time.perf_counter()
        loss, step = _run(learner, feed, first, count, plan, watch)
        if step is not None or not _finite(variables):
            outcome.diverged = first + (count if step is None else step)
            break
        outcome.steps = first + count
        judged = None if validation is None else _loss(learner, validation)
        epoch = Epoch(loss, judged, time.perf_counter() - began)
        outcome.epochs.append(epoch)
        watch.epoch(len(outcome.epochs), outcome.planned, epoch)
        if judged is None or judged < best * (1 - IMPROVED) or not math.isfinite(best):
            kept, best, waited = _values(variables), best if judged is None else judged, 0
            outcome.best = len(outcome.epochs)
        else:
            waited += 1
        if patience is not None and waited >= patience:
            break
    _assign(variables, kept)
    return outcome


def _run(
    learner: Any, feed: Feed, first: int, count: int, plan: Plan, watch: Watch
) -> tuple[float, int | None]:  # fmt: skip
    """Train on batches from `first` on; the mean loss, and the batch, from 1, at which it was not finite."""
    import keras

    found: list[int] = []

    class Watching(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        async_safe = True  # so that no step waits for the loss of the one before

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if not found and not np.isfinite(float((logs or {}).get("loss", 0.0))):
                found.append(batch + 1)
                self.model.stop_training = True
            watch.advance(1)

    class Stepping(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            watch.progress(first + batch, plan.steps)

    callbacks = [Watching(), *([Stepping()] if watch.needs_steps else [])]
    data = pipeline(feed, first, count)
    history = learner.fit(data, epochs=1, steps_per_epoch=count, shuffle=False, callbacks=callbacks, verbose=0)
    return float(history.history["loss"][-1]), found[0] if found else None


def _loss(learner: Any, validation: Feed) -> float:
    data = pipeline(validation, 0, validation.per_epoch)
    result = learner.evaluate(data, steps=validation.per_epoch, verbose=0, return_dict=True)
    return float(result["loss"])


def _values(variables: Sequence[Any]) -> list[NDArray[Any]]:
    return [array(variable) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _finite(variables: Sequence[Any]) -> bool:
    return all(np.isfinite(array(v)).all() for v in variables if "float" in str(v.dtype))


def jit() -> bool:
    """Whether a training step is compiled by XLA on this backend and device."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU")) and not tf.distribute.has_strategy()
    return bool(keras.backend.backend() == "jax")


def pipeline(feed: Feed, first: int, count: int) -> Any:
    """Batches `first` to `first + count` of a feed as `fit` takes them on this backend."""
    import keras

    if keras.backend.backend() == "tensorflow":
        return _tensors(feed, first, count)

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> Any:
            return _pair(feed.batch(first + index))

    return Batches()


def _pair(batch: Batch) -> Any:
    """x and y, x alone without labels."""
    x, y = batch
    return (x, tuple(y)) if y else (x,)


def _tensors(feed: Feed, first: int, count: int) -> Any:
    import tensorflow as tf

    sample = _pair(feed.batch(first))
    spec = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), sample)

    def batches() -> Iterator[Any]:
        for number in range(first, first + count):
            yield _pair(feed.batch(number))

    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    return tf.data.Dataset.from_generator(batches, output_signature=spec).prefetch(BUFFERED).with_options(options)


@contextmanager
def seeded(model: Any, seed: int) -> Iterator[None]:
    """Meanwhile, let the model's random layers, such as dropout, draw what the seed decides."""
    generators = [
        generator for layer in model._flatten_layers() for generator in getattr(layer, "_seed_generators", ())
    ]
    before = [np.array(generator.state) for generator in generators]
    for number, generator in enumerate(generators):
        generator.state.assign(np.asarray([(seed + number) % (1 << 31), 0], str(generator.state.dtype)))
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.state.assign(state)
