"""How much of a recipe's work a trial does: a share of its training, or none of it."""

from collections.abc import Sequence

from kcompress.passes.base import Pass
from kcompress.training.settings import DEFAULT_EPOCHS

LENGTHS = ("warmup", "every")
"""Settings in epochs that go with the length of a training."""


def shortened(step: Pass, effort: float) -> Pass:
    """A training pass with this share of its epochs or steps, at least one of them; any other pass as it is."""
    config = step.config()
    if not step.trains or effort == 1:
        return step
    unit = "steps" if config.get("steps") else "epochs"
    whole = config.get(unit) or DEFAULT_EPOCHS
    config[unit] = max(1, round(whole * effort))
    share = config[unit] / whole
    return type(step)(**{key: value * share if key in LENGTHS else value for key, value in config.items()})


def untrained(steps: Sequence[Pass]) -> list[Pass] | None:
    """The steps without those that train, which make files of the same size; None where training is what decides it."""
    training = [step for step in steps if step.trains]
    if not training or any(step.config().get("student") for step in training):
        return None
    return [step.at_once() for step in steps if not step.trains]
