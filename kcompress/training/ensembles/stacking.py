"""The head of a stacked ensemble: one dense layer on the outputs of all members, which starts as their mean.

Source: Wolpert, "Stacked Generalization", 1992. For classes it reads log-probabilities, for yes-or-no questions logits,
and is trained on the cross-entropy, the best epoch on a part of the samples being kept; for values it is a ridge
regression.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import DataError
from kcompress.keras_internals import producer
from kcompress.numerics.mixture import corrected
from kcompress.training.checkpoints import Checkpoint
from kcompress.training.feed import ArrayFeed
from kcompress.training.learner import model_view
from kcompress.training.loop import Watch, fit, jit
from kcompress.training.losses.soft_targets import EPSILON, OutputKind
from kcompress.training.outcome import TrainingSchedule
from kcompress.training.schedules import optimizer
from kcompress.training.settings import TrainingSettings

Array = NDArray[Any]
PLAN = TrainingSchedule(steps=500, per_epoch=50)
"""Steps in all, and between two looks at the validation data; the data is gone through as often as that takes."""
SETTINGS = TrainingSettings.model_validate(
    {"steps": PLAN.steps, "learning_rate": 0.02, "validation": 0.2, "patience": 5}
)
FEWEST = 10
"""The fewest samples that a head is trained on."""
RIDGE = 0.001
ACTIVATIONS: dict[OutputKind, str] = {"probabilities": "softmax", "sigmoid": "sigmoid", "values": "linear"}


def evidence(output: Any, kind: OutputKind, name: str) -> Any:
    """What the head reads of one member's output, as a symbolic tensor: log-probabilities, logits or values."""
    import keras

    if kind == "logits":
        return keras.layers.Activation("log_softmax", name=name, dtype="float32")(output)
    if kind in ("values", "binary_logits"):
        return output
    high = 1.0 if kind == "probabilities" else 1 - EPSILON
    clipped = _named(keras.ops.clip(output, EPSILON, high), f"{name}_clipped")
    logarithm = _named(keras.ops.log(clipped), f"{name}_log")
    if kind == "probabilities":
        return logarithm
    against = _named(keras.ops.log(_named(keras.ops.subtract(1.0, clipped), f"{name}_other")), f"{name}_other_log")
    return _named(keras.ops.subtract(logarithm, against), name)


def _named(tensor: Any, name: str) -> Any:
    """The same tensor, the operation behind it under a name that does not count what was made before it."""
    producer(tensor).name = name
    return tensor


def trained(inputs: Array, target: Array, kind: OutputKind, data: str, seed: int) -> tuple[Array, Array]:
    """Kernel and bias of a head from what it reads (..., members · units) to the target (..., units)."""
    units = target.shape[-1]
    inputs, target = inputs.reshape(-1, inputs.shape[-1]), target.reshape(-1, units)
    members = inputs.shape[-1] // units
    start = np.tile(np.eye(units) / members, (members, 1))
    if kind == "values":
        return corrected(inputs, target, start, RIDGE)
    if len(inputs) < FEWEST:
        raise DataError(f"{data}: {len(inputs)} samples are too few to train a head on; give at least {FEWEST}")
    head = dense(units, kind, start, np.zeros(units), "head")
    model = _model(head, inputs.shape[-1])
    feed = ArrayFeed({"evidence": inputs.astype(np.float32)}, [target], 0, seed, np.arange(len(inputs)))
    training, validation = _batched(feed).apart(SETTINGS.validation_share)
    assert validation is not None
    learner = model_view(model)
    loss = _cross_entropy(kind)
    learner.compile(optimizer=optimizer(SETTINGS, PLAN.steps, PLAN.per_epoch), loss=(loss,), jit_compile=jit())
    before = _judged(model, validation, loss)
    fit(learner, list(model.variables), training, validation, PLAN, SETTINGS.patience, Watch(), Checkpoint(None))
    if not _judged(model, validation, loss) < before:
        return start, np.zeros(units)
    return np.asarray(head.kernel), np.asarray(head.bias)


def dense(units: int, kind: OutputKind, kernel: Array, bias: Array, name: str) -> Any:
    """A head as a layer."""
    import keras

    layer = keras.layers.Dense(units, ACTIVATIONS[kind], name=name, dtype="float32")
    layer.build((None, len(kernel)))
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
    return layer


def _model(head: Any, width: int) -> Any:
    import keras

    inputs = keras.Input((width,), name="evidence")
    return keras.Model(inputs, head(inputs))


def _batched(feed: ArrayFeed) -> ArrayFeed:
    """Batches of 32, or of all that is trained on where that is less."""
    return replace(feed, size=min(32, feed.samples - round(SETTINGS.validation_share * feed.samples)))


def _cross_entropy(kind: OutputKind) -> Any:
    import keras

    return keras.losses.CategoricalCrossentropy() if kind == "probabilities" else keras.losses.BinaryCrossentropy()


def _judged(model: Any, validation: ArrayFeed, loss: Any) -> float:
    inputs, (target,) = validation.take(validation.rows)
    return float(loss(target, model(inputs["evidence"], training=False)))
