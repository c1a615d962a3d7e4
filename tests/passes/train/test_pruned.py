"""Pruning while training goes on.

Covers: passes/train/_gradual.py.
"""

import numpy as np
import pytest

from kcompress import PruneMagnitude, TrainFinetune
from kcompress.errors import UsageError
from tests.passes.train.problems import accuracy, context, convolutional
from tests.shell import assert_refused, kcompress

KERNELS = ("conv1", "conv2", "hidden", "head")


def together(pruning, model=None, **fields):
    """A pruning pass and the training behind it, as a run hands one to the other."""
    begun = pruning.apply(model or convolutional(), context())
    settings = {"epochs": 8, "learning_rate": 0.01, **fields}
    return begun, TrainFinetune(**settings).apply(begun.model, context(pruning=pruning))


def zeros(model):
    return {name: float((np.asarray(model.get_layer(name).kernel) == 0).mean()) for name in KERNELS}


@pytest.mark.parametrize("regrow", [False, True])
def test_reaches_the_share_and_the_accuracy(regrow):
    begun, result = together(PruneMagnitude(sparsity=0.8, schedule="polynomial", regrow=regrow))
    assert all(skip.expected for skip in begun.skipped)
    assert zeros(begun.model) == dict.fromkeys(KERNELS, 0.0)
    assert zeros(result.model) == pytest.approx(dict.fromkeys(KERNELS, 0.8), abs=0.01)
    assert accuracy(result.model) > 0.9


def test_starts_from_the_initial_share_and_rises_by_the_third_power():
    pruning = PruneMagnitude(sparsity=0.8, initial=0.2, until=0.5, schedule="polynomial")
    begun, _ = together(pruning, epochs=1)
    assert zeros(begun.model) == pytest.approx(dict.fromkeys(KERNELS, 0.2), abs=0.02)
    removed = pruning.gradually(convolutional()).removed
    for progress, share in ((0.0, 0.2), (0.25, 0.8 - 0.6 / 8), (0.5, 0.8), (1.0, 0.8)):
        masks = np.concatenate([mask.ravel() for _, mask in removed(progress)])
        assert masks.mean() == pytest.approx(share, abs=0.01)


def test_a_removed_weight_does_not_come_back_unless_it_may():
    model = TrainFinetune(epochs=4, learning_rate=0.01).apply(convolutional(), context()).model
    pruning = PruneMagnitude(sparsity=0.5, initial=0.5, schedule="polynomial")
    begun, result = together(pruning, model, epochs=2)
    was, now = (np.asarray(each.model.get_layer("hidden").kernel) == 0 for each in (begun, result))
    assert (now[was]).all()
    small = np.abs(np.asarray(model.get_layer("hidden").kernel))
    _, grown = together(PruneMagnitude(sparsity=0.5, initial=0.5, schedule="polynomial", regrow=True), model, epochs=2)
    first = small <= np.quantile(small, 0.5)
    assert (np.asarray(grown.model.get_layer("hidden").kernel)[first] != 0).any()


def test_rules_and_skips_hold_there_too():
    rules = [{"layers": "hidden", "sparsity": 0.9}]
    _, result = together(PruneMagnitude(sparsity=0.5, schedule="polynomial", skip="head", rules=rules), epochs=2)
    found = zeros(result.model)
    assert (found["head"], round(found["hidden"], 1), round(found["conv2"], 1)) == (0.0, 0.9, 0.5)


def test_the_best_epoch_is_one_after_the_last_was_removed():
    _, result = together(PruneMagnitude(sparsity=0.9, schedule="polynomial"), validation=0.2, epochs=4)
    assert zeros(result.model)["hidden"] == pytest.approx(0.9, abs=0.01)


def test_what_cannot_be_is_said_in_one_line(fixtures, tmp_path):
    for fields, words in (
        ({"initial": 0.5}, "initial and regrow go with schedule=polynomial"),
        ({"schedule": "polynomial", "threshold": 0.1}, "schedule=polynomial raises a share"),
        ({"schedule": "polynomial", "initial": 0.9}, "initial=0.9 is above the share to zero, 0.5"),
        ({"schedule": "polynomial", "rules": [{"layers": "a", "until": 0.2}]}, "are for the whole pass"),
    ):
        with pytest.raises(UsageError, match=words):
            PruneMagnitude(**fields)
    step = "prune.magnitude:schedule=polynomial"
    done = kcompress("compress", fixtures / "lenet300.keras", tmp_path / "o.keras", "--apply", step)
    assert_refused(done, 2, "there is none that does; add one behind it, such as --apply train.finetune")
