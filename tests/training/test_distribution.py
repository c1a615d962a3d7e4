"""Training on several devices, or in several processes, gives what training on one gives.

Covers: hosts/process_group.py, hosts/rendezvous.py, hosts/settings.py.
"""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from kcompress.errors import DataError, UsageError
from kcompress.training.distribution import Shared, split
from kcompress.training.feed import ArrayFeed, feed
from tests.conftest import ROOT
from tests.models import keras
from tests.shell import assert_refused, kcompress, without_tensorflow
from tests.sweep import some

CLOSE = 1e-5
"""Losses and weights are sums over a batch, in another order."""


def somewhere(backend, folder, *arguments):
    command = [sys.executable, "-m", "tests.training.somewhere", backend, *map(str, (folder, *arguments))]
    env = {**os.environ, **({} if backend == "tensorflow" else without_tensorflow(folder / "site"))}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output_of(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def small_model(whole):
    """Two kernels that are large enough to be split; with `whole`, also layers that need a whole batch."""
    nn = keras().layers
    layers = [
        nn.Dense(1024, "relu", kernel_regularizer="l2", name="first"),
        *([nn.BatchNormalization(name="bn"), nn.Dropout(0.2, name="dropout")] if whole else []),
        nn.Dense(128, "relu", name="second"),
        nn.Dense(4, "softmax", name="head"),
    ]
    keras().utils.set_random_seed(0)
    return keras().Sequential([keras().Input((64,), name="x"), *layers], name="small")


@pytest.fixture(scope="module")
def jax(tmp_path_factory):
    """What one and four JAX devices made, and the folder with it."""
    folder = tmp_path_factory.mktemp("jax")
    small_model(whole=True).save(folder / "small.keras")
    return output_of(somewhere("jax", folder, "one,data,model")), folder


def assert_same(one, other):
    half = (64 * 1024 + 1024 * 128 + 128 * 4) // 2
    pruned, rounded = (fit["zeros"] for fit in one["fits"])
    assert pruned == half
    assert rounded >= half  # what 4 bits rounded to zero may stay there
    for mine, others in zip(one["fits"], other["fits"], strict=True):
        assert others["losses"] == pytest.approx(mine["losses"], abs=CLOSE)
        assert others["differ"] == []
        assert others["zeros"] == mine["zeros"]
        assert others["sum"] == pytest.approx(mine["sum"], rel=CLOSE)


def assert_weights_close(folder, one, other):
    first, second = (keras().saving.load_model(folder / f"{name}.keras").get_weights() for name in (one, other))
    for mine, others in zip(first, second, strict=True):
        np.testing.assert_allclose(others, mine, atol=CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["data", "model"])
def test_four_jax_devices_train_as_one(kind, jax):
    found, folder = jax
    assert_same(found["one"], found[kind])
    assert_weights_close(folder, "one", kind)
    names = [path.split("/")[-2] for path in found[kind]["fits"][0]["split"]]
    assert names == (["first", "second"] if kind == "model" else [])


@pytest.mark.slow
def test_four_tensorflow_devices_train_as_one(tmp_path):
    small_model(whole=False).save(tmp_path / "small.keras")
    found = output_of(somewhere("tensorflow", tmp_path, "one,data"))
    assert_same(found["one"], found["data"])
    assert_weights_close(tmp_path, "one", "data")


@pytest.mark.slow
def test_two_processes_train_as_one_and_the_first_writes(jax, tmp_path):
    one, _ = jax
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        (folder / "small.keras").write_bytes((jax[1] / "small.keras").read_bytes())
    place = f"127.0.0.1:{free_port()}"
    kinds = some(["data", "model"], lambda kind: kind == "data")
    both = [somewhere("jax", folder, ",".join(kinds), place, number) for number, folder in enumerate(folders)]
    found = [output_of(process) for process in both]
    for kind in kinds:
        for mine in found:
            assert_same(one["one"], mine[kind])
        assert found[0][kind]["fits"] == found[1][kind]["fits"]
        assert [(mine[kind]["first"], mine[kind]["shown"]) for mine in found] == [(True, True), (False, False)]
        assert found[0][kind]["bytes"] == found[1][kind]["bytes"] == (folders[0] / f"{kind}.keras").stat().st_size
    assert sorted(path.name for path in folders[1].iterdir()) == ["site", "small.keras"]


def start_both(folder, fixtures, second=(), settings="steps=2", form="--json"):
    """The command in two processes; `second` are options of the second one only."""
    place = f"127.0.0.1:{free_port()}"
    with np.load(fixtures / "fashion_mnist.npz") as arrays:
        np.savez(folder / "d.npz", **{name: values[:500] for name, values in arrays.items()})
    both = []
    for number in range(2):
        command = [
            *(sys.executable, "-m", "kcompress.cli", "compress", fixtures / "lenet300.keras", folder / "out.keras"),
            *(
                "--data",
                folder / "d.npz",
                "--apply",
                f"train.finetune:{settings}",
                "--distribute",
                "data",
            ),
            *("--coordinator", place, "--processes", "2", "--process", number, "--timeout", "60", form),
            *("--overwrite", *(second if number else ())),
        ]
        own = {"KERAS_BACKEND": "jax", "KCOMPRESS_CACHE": str(folder / f"cache{number}")}
        env = {**os.environ, **without_tensorflow(folder / f"site{number}"), **own}
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        both.append(subprocess.Popen([*map(str, command)], text=True, env=env, **piped))
    return both


def run_both(*given):
    both = start_both(*given)
    return [(*process.communicate(timeout=300), process.returncode) for process in both]


@pytest.mark.slow
def test_processes_that_would_do_different_things_all_stop(fixtures, tmp_path):
    for out, err, code in run_both(tmp_path, fixtures, ["--seed", "1"]):
        assert (out, code) == ("", 2)
        assert "process 1" in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out.keras").exists()


@pytest.mark.slow
@pytest.mark.parametrize("lost", some([0, 1], lambda lost: lost == 1))
def test_a_process_that_is_killed_during_training_ends_the_other(lost, fixtures, tmp_path):
    both = start_both(tmp_path, fixtures, (), "epochs=1000", "--strict")
    assert any("epoch 1 of" in line for line in iter(both[0].stderr.readline, ""))
    both[lost].kill()
    out, err = both[1 - lost].communicate(timeout=60)
    both[lost].communicate()
    assert out == ""
    assert not (tmp_path / "out.keras").exists()
    if lost == 1:  # without process 0, JAX itself ends the others, by a signal
        assert both[0].returncode == 2
        last = err.splitlines()[-1]
        assert last.startswith("Error: another process stopped answering during training")


@pytest.mark.slow
@pytest.mark.parametrize("number", some([0, 1], lambda number: number == 1))
def test_a_host_that_does_not_answer_is_named_in_time(number, fixtures, tmp_path):
    done = kcompress(
        *("compress", fixtures / "lenet300.keras", tmp_path / "out.keras", "--data", fixtures / "fashion_mnist.npz"),
        *("--apply", "train.finetune", "--backend", "jax", "--distribute", "data", "--timeout", "1"),
        *("--coordinator", f"127.0.0.1:{free_port()}", "--processes", "2", "--process", number),
    )
    assert_refused(done, 2, f"process {1 - number} of 2 did not answer", "within 1 seconds (--timeout)")


@pytest.mark.parametrize(
    ("backend", "options", "words"),
    [
        ("tensorflow", ["--distribute", "model"], ["--backend jax"]),
        ("tensorflow", ["--distribute", "data", "--processes", "2"], ["needs JAX", "keras #20585"]),
        ("jax", ["--distribute", "both"], ["--distribute both is not one of data, model"]),
        ("jax", ["--processes", "2"], ["--distribute data or model"]),
    ],
)
def test_what_cannot_be_is_said_at_once(backend, options, words, fixtures, tmp_path):
    command = ["compress", fixtures / "lenet300.keras", tmp_path / "out.keras", "--backend", backend]
    data = fixtures / "fashion_mnist.npz"
    done = kcompress(*command, "--apply", "train.finetune", "--data", data, *options)
    assert_refused(done, 2, *words)


def test_nothing_to_distribute_is_said(fixtures, tmp_path):
    done = kcompress(
        *("compress", fixtures / "lenet300.keras", tmp_path / "out.keras", "--distribute", "data"),
        *("--apply", "quantize.float16"),
    )
    assert_refused(done, 2, "no pass trains", "--apply train.finetune")


def stored(samples, size, parts=1):
    rows = np.arange(samples, dtype=np.float32)[:, None]
    return ArrayFeed({"x": rows}, [rows[:, 0]], size, 0, np.arange(samples), parts=parts)


def test_the_shares_of_a_batch_are_the_batch():
    whole = stored(40, 12)
    shares = [Shared(whole, start, start + 4) for start in (0, 4, 8)]
    for number in range(5):
        x, y = whole.batch(number)
        parts = [share.batch(number) for share in shares]
        np.testing.assert_array_equal(np.concatenate([part[0]["x"] for part in parts]), x["x"])
        np.testing.assert_array_equal(np.concatenate([part[1][0] for part in parts]), y[0])
    assert (shares[0].samples, shares[0].size, shares[0].per_epoch) == (40, 12, 3)


@pytest.mark.parametrize(("samples", "parts", "expected"), [(100, 1, 32), (100, 3, 33), (100, 64, 64), (10, 4, 8)])
def test_without_a_batch_size_there_is_one_that_can_be_divided(samples, parts, expected, tmp_path):
    from kcompress.data import resolve

    rows = np.zeros((samples, 64), np.float32)
    data = resolve((rows, np.arange(samples) % 4), None, (rows[:1], np.zeros(1, int))).training
    assert feed(small_model(False), data, None, 0, tmp_path, True, parts).size == expected


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path):
    from kcompress.data import resolve

    rows = np.zeros((100, 64), np.float32)
    data = resolve((rows, np.arange(100) % 4), None, (rows[:1], np.zeros(1, int))).training
    with pytest.raises(UsageError, match=r"^batch=30 can't be divided among 4 devices; give a multiple, such as 32$"):
        feed(small_model(False), data, 30, 0, tmp_path, True, 4)
    with pytest.raises(DataError, match="100 samples are less than one for each of 128 devices"):
        feed(small_model(False), data, None, 0, tmp_path, True, 128)


def test_validation_data_can_be_divided_too():
    training, validation = stored(100, 16, 4).apart(0.1)
    assert (training.size, validation.size, validation.per_epoch) == (16, 8, 1)
    with pytest.raises(DataError, match=r"validation=0.02 is 2 samples, too few for a batch of 4; give a larger share"):
        stored(100, 16, 4).apart(0.02)


def test_kernels_are_split_along_their_longest_output_axis_that_can_be():
    nn = keras().layers
    inputs = keras().Input((8, 64), name="x")
    x = nn.Dense(1026, name="odd")(nn.Dense(1024, name="even")(inputs))
    x = nn.MultiHeadAttention(4, 64, name="attention")(x, x)
    model = keras().Model(inputs, nn.Dense(2, name="small")(x))
    found = {path.split("/", 1)[1] if path.startswith("functional") else path: a for path, a in split(model, 4).items()}
    assert found["even/kernel"] == (None, "model")
    assert not any("odd" in path or "small" in path or "bias" in path for path in found)
    assert found["attention/query/kernel"] == (None, None, "model")
    assert "attention/attention_output/kernel" not in found
