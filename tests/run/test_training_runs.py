"""Runs that train, from the shell."""

import json
import os
import signal

import pytest

from tests.models import small_run
from tests.shell import assert_refused, kcompress, started
from tests.sweep import some

PRUNE = "prune.magnitude:sparsity=0.9,schedule=polynomial"


def arguments(fixtures, output, *steps, data=None, source=None, more=()):
    data = ("--data", data or fixtures / "fashion_mnist.npz")
    applied = [part for step in steps for part in ("--apply", step)]
    return ["compress", source or fixtures / "lenet300.keras", output, *data, *applied, *more]


@pytest.mark.slow
@pytest.mark.parametrize("backend", some(["tensorflow", "jax"], lambda backend: backend == "tensorflow"))
def test_a_run_that_was_killed_in_a_training_ends_as_one_that_was_not(backend, fixtures, tmp_path):
    small_run(tmp_path, 700)
    steps = (PRUNE, "train.distill:epochs=6,validation=0.1,batch=16")  # of which the last four take a second or more
    env = {"KERAS_BACKEND": backend, "KCOMPRESS_CACHE": str(tmp_path / "one")}
    given = {"data": tmp_path / "d.npz", "source": tmp_path / "m.keras"}
    whole = kcompress(*arguments(fixtures, tmp_path / "whole.keras", *steps, **given), **env)
    assert whole.returncode == 0, whole.stderr
    env["KCOMPRESS_CACHE"] = str(tmp_path / "other")
    cut = arguments(fixtures, tmp_path / "cut.keras", *steps, **given)
    said = tmp_path / "said"
    os.mkfifo(said)
    with started(*cut, out=tmp_path / "out", err=said, **env) as process, said.open() as lines:
        assert any("epoch 2 of 6" in line for line in lines)
        os.kill(process, signal.SIGKILL)
    again = kcompress(*cut, **env)
    assert again.returncode == 0, again.stderr
    assert "epoch 1 of 6" not in again.stderr
    assert "epoch 6 of 6" in again.stderr
    assert (tmp_path / "whole.keras").read_bytes() == (tmp_path / "cut.keras").read_bytes()
    assert not list((tmp_path / "other").glob("*unfinished"))


def test_the_report_has_the_losses(fixtures, tmp_path):
    done = kcompress(*arguments(fixtures, tmp_path / "o.keras", "train.finetune:epochs=2", more=("--json",)))
    (record,) = json.loads(done.stdout)["passes"]
    assert [sorted(entry) for entry in record["history"]] == [["loss", "seconds", "validation_loss"]] * 2


def test_a_diverging_training_is_exit_code_one_and_says_at_which_step(fixtures, tmp_path):
    step = "train.finetune:optimizer=sgd,learning_rate=1e30"
    done = kcompress(*arguments(fixtures, tmp_path / "o.keras", step))
    assert done.returncode == 1
    assert "train.finetune:epochs_lost NOT MET: 3, limit 0" in " ".join(done.stdout.split())
    assert (tmp_path / "o.keras").exists()
    strict = kcompress(*arguments(fixtures, tmp_path / "s.keras", step, more=("--strict",)))
    assert strict.returncode == 2
    assert not (tmp_path / "s.keras").exists()


def test_data_and_teachers_that_do_not_fit_are_refused(fixtures, tmp_path):
    bare = kcompress("compress", fixtures / "lenet300.keras", tmp_path / "o.keras", "--apply", "train.finetune")
    assert_refused(bare, 2, "train.finetune: needs training data; give it with --data")
    teacher = ("--teacher", fixtures / "resnet8.keras")
    unused = kcompress(*arguments(fixtures, tmp_path / "o.keras", "quantize.float16", more=teacher))
    assert_refused(unused, 2, "no pass learns from a teacher")
    missing = kcompress(*arguments(fixtures, tmp_path / "o.keras", "train.distill", more=("--teacher", "none.keras")))
    assert_refused(missing, 2, "none.keras: no such file")
    assert not (tmp_path / "o.keras").exists()
