import math

import numpy as np
import pytest

from kcompress.errors import UsageError
from kcompress.training.schedules import learning_rate, optimizer
from kcompress.training.settings import TrainingSettings

STEPS, EPOCH = 40, 10.0
A = 0.1


def rates(**fields):
    found = learning_rate(TrainingSettings(learning_rate=A, **fields), STEPS, EPOCH)
    return [found if isinstance(found, float) else float(found(step)) for step in range(STEPS + 1)]


FORMULAS = {
    "constant": lambda t, total: A,
    "step": lambda t, total: A * 0.5 ** math.floor(t),
    "exponential": lambda t, total: A * 0.5**t,
    "inverse_time": lambda t, total: A / (1 + 0.5 * t),
    "polynomial": lambda t, total: A * (1 - t / total) ** 2,
    "cosine": lambda t, total: A * (1 + math.cos(math.pi * t / total)) / 2,
}


@pytest.mark.parametrize("schedule", FORMULAS)
def test_follows_its_formula(schedule):
    expected = [FORMULAS[schedule](step / EPOCH, STEPS / EPOCH) for step in range(STEPS + 1)]
    np.testing.assert_allclose(rates(schedule=schedule, power=2.0), expected, rtol=1e-5, atol=1e-8)  # float32


@pytest.mark.parametrize("schedule", FORMULAS)
def test_rises_from_zero_in_the_warm_up_and_starts_its_own_way_after_it(schedule):
    found = rates(schedule=schedule, warmup=1.0)
    np.testing.assert_allclose(found[:10], [A * (step + 1) / 10 for step in range(10)], rtol=1e-5)
    assert found[10] == pytest.approx(A, rel=1e-5)
    assert found[-1] <= A * 1.0001


def test_counts_updates_where_gradients_are_accumulated():
    settings = TrainingSettings(schedule="step", learning_rate=A, accumulate=2)
    rate = optimizer(settings, 40, 10.0)._learning_rate
    assert float(rate(4)) == pytest.approx(A)
    assert float(rate(5)) == pytest.approx(A / 2)


def test_passes_on_momentum_and_weight_decay():
    made = optimizer(TrainingSettings(optimizer="SGD", momentum=0.9, weight_decay=0.01), 10, 5)
    assert (type(made).__name__, made.momentum, made.weight_decay) == ("SGD", 0.9, 0.01)


def test_refuses_names_and_settings_that_keras_does_not_have():
    with pytest.raises(UsageError, match=r"optimizer=adm is no optimizer of Keras's; did you mean 'adam'"):
        optimizer(TrainingSettings(optimizer="adm"), 10, 5)
    with pytest.raises(UsageError, match=r"momentum=0.9, but the optimizer adam has none"):
        optimizer(TrainingSettings(momentum=0.9), 10, 5)
    with pytest.raises(ValueError, match="epochs and steps exclude each other"):
        TrainingSettings(epochs=1, steps=1)
