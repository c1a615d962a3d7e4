"""The one fit loop: Keras's own `fit`, an epoch at a time, on an input pipeline of our own.

Left to itself, tf.data tunes its buffers with a timer that stalled `fit` for seconds, and XLA compiles convolutions for
processors slower than TensorFlow runs them with oneDNN. So TensorFlow gets a pipeline that tunes nothing, and is
compiled by XLA only for a GPU; JAX is compiled always.
"""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.keras_internals import layers_of, seed_generators
from kcompress.training.checkpoints import Checkpoint, State
from kcompress.training.distribution import alone, array
from kcompress.training.feed import Batch, Feed
from kcompress.training.outcome import Epoch, Outcome, TrainingSchedule

BUFFERED = 2
FEW = 64
IMPROVED = 1e-6
"""The share by which a loss on validation data has to be lower to be better."""


class Watch:
    """Callbacks of a training; each does nothing unless it is overridden."""

    def advance(self, steps: int) -> None:
        """So many steps were done."""

    def epoch(self, number: int, of: int, result: Epoch) -> None:
        """An epoch is over."""

    def due(self, step: int) -> bool:
        """Whether `change` is to be called before this step, counted from 0."""
        return False

    def change(self, step: int, of: int) -> None:
        """Change the model before a step is taken."""

    settled = 0
    """The step from which on the model is only trained; what it was before is not compared with what it is after."""


def fit(
    learner: Any,
    variables: Sequence[Any],
    feed: Feed,
    validation: Feed | None,
    plan: TrainingSchedule,
    patience: int | None,
    watch: Watch,
    checkpoint: Checkpoint,
    minutes: float = math.inf,
) -> Outcome:
    """Fit a compiled learner. `variables` are all that training changes in the model.

    With validation data, the weights of the best epoch are kept, and training stops after `patience` epochs that were
    no better. Where the loss is no longer a finite number, the weights of the epoch before are put back. The state is
    written to the checkpoint after each epoch, and within one about every so many minutes; it goes on from there.
    """
    kept = _values(variables)
    _assign(variables, kept)  # a backend that reuses memory must not have that of a model with the same values
    if not learner.optimizer.built:
        learner.optimizer.build(learner.trainable_variables)
    every = [*variables, *learner.optimizer.variables]
    state = checkpoint.load(every, len(variables)) or State(Outcome(plan.epochs), math.inf, kept)
    outcome = state.outcome
    pace = _Pace(minutes * 60 if alone() else math.inf)  # several have to take the same pieces
    training, judging = Pipeline(feed), None if validation is None else Pipeline(validation)
    watch.advance(outcome.steps)
    while outcome.steps < plan.steps and (patience is None or state.waited < patience):
        first, end = outcome.steps, plan.epoch(outcome.steps)[1]
        stop = min([first + pace.steps, *itertools.islice(filter(watch.due, range(first + 1, end)), 1), end])
        if watch.due(first):
            watch.change(first, plan.steps)
        began = time.perf_counter()
        loss, step = _run(learner, training, first, stop - first, watch)
        seconds = time.perf_counter() - began
        pace.took(stop - first, seconds)
        values = _values(variables) if stop == end and step is None else []
        if step is not None or not _finite(values):
            outcome.diverged = first + (stop - first if step is None else step)
            break
        outcome.steps = stop
        state.seconds += seconds
        state.total += loss * (stop - first)
        if stop == end:
            judged = None if judging is None else _loss(learner, judging)
            _end_epoch(state, values, judged, plan, watch)
        if stop == end or pace.due:
            checkpoint.save(state, every)
            pace.saved()
    _assign(variables, state.kept)
    return outcome


def _end_epoch(
    state: State, values: list[NDArray[Any]], judged: float | None, plan: TrainingSchedule, watch: Watch
) -> None:
    """Take down how an epoch went, and keep the values of the variables if they are the best."""
    outcome = state.outcome
    first, end = plan.epoch(outcome.steps - 1)
    epoch = Epoch(state.total / (end - first), judged, state.seconds)
    outcome.epochs.append(epoch)
    state.total = state.seconds = 0.0
    watch.epoch(len(outcome.epochs), outcome.planned, epoch)
    changing = outcome.steps <= watch.settled
    if changing or judged is None or judged < state.best * (1 - IMPROVED) or not math.isfinite(state.best):
        state.kept, state.waited = values, 0
        state.best = state.best if changing or judged is None else judged
        outcome.best = len(outcome.epochs)
    else:
        state.waited += 1


class _Pace:
    """How many steps to take before the next look at the clock, given the seconds between two checkpoints."""

    def __init__(self, limit: float) -> None:
        self._limit, self._since, self._each = limit, time.perf_counter(), 0.0

    @property
    def steps(self) -> int:
        """A few at first, as long as it is not known how long one takes."""
        if math.isinf(self._limit):
            return 1 << 62
        return max(1, int(self._limit / self._each)) if self._each else FEW

    @property
    def due(self) -> bool:
        return time.perf_counter() - self._since >= self._limit

    def took(self, steps: int, seconds: float) -> None:
        self._each = seconds / steps

    def saved(self) -> None:
        self._since = time.perf_counter()


def _run(learner: Any, pipeline: "Pipeline", first: int, count: int, watch: Watch) -> tuple[float, int | None]:
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

    data = pipeline.batches(first, count)
    history = learner.fit(data, epochs=1, steps_per_epoch=count, shuffle=False, callbacks=[Watching()], verbose=0)
    return float(history.history["loss"][-1]), found[0] if found else None


def _loss(learner: Any, validation: "Pipeline") -> float:
    count = validation.feed.per_epoch
    result = learner.evaluate(validation.batches(0, count), steps=count, verbose=0, return_dict=True)
    return float(result["loss"])


def _values(variables: Sequence[Any]) -> list[NDArray[Any]]:
    return [array(variable) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _finite(values: Sequence[NDArray[Any]]) -> bool:
    return all(np.isfinite(array).all() for array in values if array.dtype.kind == "f")


def jit() -> bool:
    """Whether a training step is compiled by XLA on this backend and device."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU")) and not tf.distribute.has_strategy()
    return bool(keras.backend.backend() == "jax")


class Pipeline:
    """A feed as Keras's `fit` takes it on this backend, a range of batches at a time.

    For TensorFlow there is one tf.data.Dataset, which takes as long to make as many small steps do.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._range = range(0)

    def batches(self, first: int, count: int) -> Any:
        """Batches `first` to `first + count`; those asked for before are not to be read any more."""
        import keras

        if keras.backend.backend() == "tensorflow":
            self._range = range(first, first + count)
            return self._tensors
        feed = self.feed

        class Batches(keras.utils.PyDataset):  # type: ignore[misc]
            def __len__(self) -> int:
                return count

            def __getitem__(self, index: int) -> Any:
                return _pair(feed.batch(first + index))

        return Batches()

    @cached_property
    def _tensors(self) -> Any:
        import tensorflow as tf

        sample = _pair(self.feed.batch(self._range.start))
        spec = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), sample)

        def read() -> Iterator[Any]:
            return (_pair(self.feed.batch(number)) for number in self._range)

        options = tf.data.Options()
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 1
        return tf.data.Dataset.from_generator(read, output_signature=spec).prefetch(BUFFERED).with_options(options)


def _pair(batch: Batch) -> Any:
    """x and y, x alone without labels."""
    x, y = batch
    return (x, tuple(y)) if y else (x,)


@contextmanager
def seeded(model: Any, seed: int) -> Iterator[None]:
    """Meanwhile, let the model's random layers, such as dropout, draw what the seed decides."""
    generators = [generator for layer in layers_of(model) for generator in seed_generators(layer)]
    before = [np.array(generator.state) for generator in generators]
    for number, generator in enumerate(generators):
        generator.state.assign(np.asarray([(seed + number) % (1 << 31), 0], str(generator.state.dtype)))
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.state.assign(state)
