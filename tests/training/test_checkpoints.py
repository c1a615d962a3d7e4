"""A training goes on where it was, also from inside of an epoch and at its very end."""

import math

import numpy as np
import pytest

from kcompress.training.checkpoints import Checkpoint
from kcompress.training.feed import ArrayFeed
from kcompress.training.learner import model_view
from kcompress.training.loop import Watch, fit
from kcompress.training.outcome import TrainingSchedule
from tests.models import dense, keras

k = keras()
X = np.random.default_rng(0).normal(size=(96, 8)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
FEED = ArrayFeed({"x": X[:64]}, [Y[:64]], 8, 0, np.arange(64))
VALIDATION = ArrayFeed({"x": X[64:]}, [Y[64:]], 8, 0, np.arange(32), shuffled=False)


class Killed(BaseException):
    pass


class Kill(Watch):
    """Ends the process, as far as a test can, before a step or after an epoch."""

    def __init__(self, step=None, epoch=None):
        self.step, self.end, self.taken = step, epoch, 0

    def due(self, step):
        return step == self.step

    def change(self, step, of):
        raise Killed

    def advance(self, steps):
        self.taken += steps


def train(folder, watch=None, patience=None, rate=0.01, minutes=math.inf, steps=40):
    model = dense()
    learner = model_view(model)
    learner.compile(k.optimizers.Adam(rate), ("sparse_categorical_crossentropy",), jit_compile=False)
    plan, place = TrainingSchedule(steps, 8), Checkpoint(folder)
    outcome = fit(learner, model.variables, FEED, VALIDATION, plan, patience, watch or Watch(), place, minutes)
    return outcome, [np.array(v) for v in model.variables]


def same(one, other):
    assert [e.loss for e in one[0].epochs] == pytest.approx([e.loss for e in other[0].epochs], rel=1e-6)
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def whole():
    return train(None)


@pytest.mark.parametrize("step", [1, 8, 13, 39])
def test_ends_as_one_that_was_not_killed(step, whole, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, Kill(step), minutes=1e-9)  # a checkpoint after every piece
    watch = Kill()
    same(train(tmp_path, watch), whole)
    assert watch.taken == 40


def test_goes_on_inside_of_an_epoch(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, Kill(13), minutes=1e-9)
    state = np.load(tmp_path / "state.npz")["state"]
    assert '"steps": 13' in str(state)


def test_one_that_stopped_early_does_not_train_on(tmp_path):
    first = train(tmp_path, patience=2, rate=0.5, steps=400)
    assert len(first[0].epochs) < 50
    same(train(tmp_path, patience=2, rate=0.5, steps=400), first)


def test_a_state_of_another_model_or_none_is_not_used(whole, tmp_path):
    (tmp_path / "state.npz").write_bytes(b"nonsense")
    same(train(tmp_path), whole)
