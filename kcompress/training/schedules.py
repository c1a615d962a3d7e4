"""The optimizer of a training and its learning rate: a schedule of Keras's, with a linear warm-up before it."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from kcompress.errors import UsageError
from kcompress.training.settings import TrainingSettings


def optimizer(settings: TrainingSettings, steps: int, epoch: float) -> Any:
    """A new optimizer for so many steps, of which `epoch` are one epoch.

    Raises UsageError for a name that Keras doesn't have, or a setting that this optimizer doesn't.
    """
    import keras

    kind = _optimizer_class(settings.optimizer)
    updates, each = max(1, steps // settings.accumulate), max(epoch / settings.accumulate, 1e-9)
    arguments: dict[str, Any] = {"learning_rate": learning_rate(settings, updates, each)}
    known = inspect.signature(kind).parameters
    for name in ("momentum", "weight_decay"):
        value = getattr(settings, name)
        if value is not None and name not in known:
            raise UsageError(f"{name}={value:g}, but the optimizer {settings.optimizer} has none; leave it out")
        if value is not None:
            arguments[name] = value
    if settings.accumulate > 1:
        arguments["gradient_accumulation_steps"] = settings.accumulate
    if settings.precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(kind(**arguments))
    return kind(**arguments)


def learning_rate(settings: TrainingSettings, updates: int, epoch: float) -> Any:
    """The learning rate for each update, `epoch` of which are one epoch: a number, or a schedule of Keras's."""
    import keras

    kinds: Any = keras.optimizers.schedules
    rate = settings.learning_rate
    decayed = {"decay_steps": settings.every * epoch, "decay_rate": settings.decay}
    warmup = min(settings.warmup * epoch, updates)
    rest = max(1.0, updates - warmup)
    kinds_of: dict[str, Callable[[], Any]] = {
        "constant": lambda: rate,
        "step": lambda: kinds.ExponentialDecay(rate, **decayed, staircase=True),
        "exponential": lambda: kinds.ExponentialDecay(rate, **decayed),
        "inverse_time": lambda: kinds.InverseTimeDecay(rate, **decayed),
        "polynomial": lambda: kinds.PolynomialDecay(rate, rest, end_learning_rate=0.0, power=settings.power),
        "cosine": lambda: kinds.CosineDecay(rate, rest),
    }
    found = kinds_of[settings.schedule]()
    return found if warmup < 1 else _warmed(found, warmup)


def _warmed(inner: Any, steps: float) -> Any:
    """The rate rising linearly over so many steps to where the inner schedule starts."""
    import keras

    class Warmup(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
        def __call__(self, step: Any) -> Any:
            step = keras.ops.cast(step, "float32")
            after = keras.ops.maximum(step - steps, 0.0)
            rate = inner(after) if callable(inner) else inner
            return rate * keras.ops.minimum((step + 1) / steps, 1.0)

        def get_config(self) -> dict[str, Any]:
            return {"inner": inner, "steps": steps}

    return Warmup()


def _optimizer_class(name: str) -> Any:
    import keras

    found = {
        key.lower(): item
        for key, item in vars(keras.optimizers).items()
        if inspect.isclass(item) and issubclass(item, keras.optimizers.Optimizer)
    }
    for key in ("optimizer", "lossscaleoptimizer"):
        found.pop(key, None)
    if name.lower() not in found:
        near = difflib.get_close_matches(name.lower(), found, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(sorted(found))}"
        raise UsageError(f"optimizer={name} is no optimizer of Keras's; {hint}")
    return found[name.lower()]
