"""The promises about a whole run: what is reported, what is kept, what survives an interruption.

Covers: cache.py, cli/commands/compress.py, cli/progress.py, cli/running.py, codec.py, files.py,
formats/keras/format.py, formats/keras/runner.py, measure/files.py, measure/scoring.py, progress.py, report/report.py,
run/apply.py, run/budgets.py, run/measure.py, run/options.py, run/prepare.py, run/resume.py, settings.py.
"""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import kcompress
from kcompress.errors import OutputError, StrictError, UnsafeError, UsageError
from tests.models import dense, keras, residual, seeded, two_in_two_out
from tests.other_process import STOCK, call
from tests.shell import kcompress as shell
from tests.stock import read

KEYS = {
    "": {
        *("kcompress", "source", "inputs", "recipe", "settings", "versions"),
        *("passes", "artifact", "quality", "seconds"),
    },
    "source": {"path", "format", "bytes", "parameters", "macs", "sha256"},
    "artifact": {
        *("path", "format", "sha256", "bytes", "gzip_bytes", "parameters", "nonzero", "bits_per_weight"),
        *("float_layers", "latency_ms", "peak_memory_bytes"),
    },
    "quality": {"metric", "samples", "source", "artifact", "drop", "ci95", "agreement"},
}
PASS_KEYS = {"name", "config", "seconds", "changed", "skipped", "parameters", "nonzero", "macs"}


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    return random.random((40, 8), np.float32), np.arange(40) % 3


def test_json_has_exactly_the_promised_keys(tmp_path, data):
    report = kcompress.compress(dense(), tmp_path / "o.keras", passes=["prune.magnitude"], data=data)
    document = json.loads(json.dumps(report.to_json()))
    assert set(document) == KEYS[""]
    for part in ("source", "artifact", "quality"):
        assert set(document[part]) == KEYS[part]
    assert set(document["passes"][0]) == PASS_KEYS
    assert set(document["artifact"]["latency_ms"]) == {"p50", "p95"}


@pytest.mark.parametrize("suffix", ["keras", "tflite", "onnx"])
def test_figures_are_those_of_the_written_file(suffix, tmp_path, data):
    path = tmp_path / f"o.{suffix}"
    report = kcompress.compress(dense(), path, passes=["prune.magnitude:sparsity=0.6", "quantize.float16"], data=data)
    import gzip

    from kcompress.formats import find

    described = find(path).describe(path)
    assert report.artifact.bytes == path.stat().st_size
    assert report.artifact.gzip_bytes == pytest.approx(len(gzip.compress(path.read_bytes(), 6)), abs=20)
    assert report.artifact.parameters == described.parameters == dense().count_params()
    assert report.artifact.nonzero == described.nonzero < report.artifact.parameters
    runner = find(path).open(path)
    x, y = data[0][4::5], data[1][4::5]
    accuracy = float((runner({next(iter(runner.inputs)): x})[0].argmax(-1) == y).mean())
    assert report.quality.artifact == pytest.approx(accuracy)
    assert report.quality.samples == len(x) == 8
    assert report.quality.drop == pytest.approx((report.quality.source - accuracy) * 100)


def test_written_keras_file_opens_in_stock_keras(tmp_path, data):
    """In a process where kcompress cannot be imported, with warnings as errors; compile state included."""
    model = dense()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    kcompress.compress(
        model, tmp_path / "o.keras", passes=["prune.magnitude:sparsity=0.5", "quantize.float16"], data=data
    )
    np.save(tmp_path / "x.npy", data[0])
    found = call(STOCK, read, str(tmp_path / "o.keras"), str(tmp_path / "x.npy"), True)
    assert found["optimizer"].startswith("adam")
    from kcompress.formats import find

    ours = find(tmp_path / "o.keras").open(tmp_path / "o.keras")({"x": data[0]})[0]
    with np.load(tmp_path / "o.keras.npz") as theirs:
        np.testing.assert_allclose(theirs["outputs"], ours, atol=1e-6)


def test_source_is_not_touched(tmp_path, data):
    source = tmp_path / "s.keras"
    dense().save(source)
    before, stamp = source.read_bytes(), source.stat().st_mtime_ns
    kcompress.compress(source, tmp_path / "o.keras", passes=["prune.magnitude"], data=data)
    assert (source.read_bytes(), source.stat().st_mtime_ns) == (before, stamp)
    with pytest.raises(OutputError, match="only read"):
        kcompress.compress(source, source, overwrite=True)


def test_existing_output_needs_overwrite(tmp_path):
    output = tmp_path / "o.keras"
    output.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        kcompress.compress(dense(), output)
    assert output.read_text() == "precious"
    kcompress.compress(dense(), output, overwrite=True)
    assert output.read_bytes()[:2] == b"PK"


def test_missed_budget_is_exit_code_1_and_everything_is_written(tmp_path, data):
    np.savez(tmp_path / "d.npz", x=data[0], y=data[1])
    dense().save(tmp_path / "s.keras")
    done = shell(
        *("compress", "s.keras", "o.keras", "--data", "d.npz", "--max-size", "1KB", "--apply", "prune.magnitude"),
        *("--report", "r.json", "--report", "r.md"),
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    assert "NOT MET" in done.stdout
    assert "NOT MET" in (tmp_path / "r.md").read_text()
    budget = json.loads((tmp_path / "r.json").read_text())["budgets"][0]
    assert (budget["name"], budget["limit"], budget["met"]) == ("max_size", 1000, False)
    assert budget["measured"] == (tmp_path / "o.keras").stat().st_size


def test_budgets_of_latency_and_multiply_adds(tmp_path):
    macs = 8 * 16 + 16 * 3
    report = kcompress.compress(dense(), tmp_path / "a.keras", max_latency=1000, max_macs=macs)
    assert [(b.name, b.measured, b.met) for b in report.budgets] == [
        ("max_latency", report.artifact.latency_ms["p50"], True),
        ("max_macs", macs, True),
    ]
    steps = ["prune.structured:ratio=0.5"]
    report = kcompress.compress(dense(), tmp_path / "b.keras", passes=steps, max_latency=1e-6, max_macs="0.08K")
    assert report.macs == macs / 2
    assert [(b.limit, b.met) for b in report.budgets] == [(1e-6, False), (80, False)]
    assert report.exit_code == 1


def test_met_budgets_are_exit_code_0(tmp_path, data):
    report = kcompress.compress(dense(), tmp_path / "o.keras", data=data, max_drop=0, max_size="1MB")
    assert [b.met for b in report.budgets] == [True, True]
    assert report.exit_code == 0


def test_missed_drop_is_exit_code_1(tmp_path):
    random = np.random.default_rng(0)
    x = random.random((200, 8), np.float32)
    model = seeded(dense())
    y = np.asarray(model.predict(x, verbose=0)).argmax(-1)
    report = kcompress.compress(
        model, tmp_path / "o.keras", passes=["prune.magnitude:sparsity=0.97"], data=(x, y), max_drop=1
    )
    assert report.quality.source == 1.0
    assert report.quality.drop > 1
    assert report.exit_code == 1


def test_json_on_standard_output_and_nothing_else(tmp_path):
    dense().save(tmp_path / "s.keras")
    done = shell("compress", "s.keras", "o.keras", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == KEYS[""]
    assert done.stderr == ""


def test_quiet_prints_nothing(tmp_path):
    dense().save(tmp_path / "s.keras")
    done = shell("compress", "s.keras", "o.keras", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_labels_only_agreement_is_reported(tmp_path, data):
    report = kcompress.compress(dense(), tmp_path / "o.keras", test=data[0])
    quality = report.quality
    assert (quality.metric, quality.source, quality.drop, quality.agreement) == (None, None, None, 1.0)


def test_without_data_quality_is_empty(tmp_path):
    quality = kcompress.compress(dense(), tmp_path / "o.keras").quality
    assert (quality.samples, quality.agreement) == (0, None)


def test_inputs_and_outputs_by_name(tmp_path):
    random = np.random.default_rng(0)
    x = {"left": random.random((30, 4), np.float32), "right": random.random((30, 4), np.float32)}
    model = two_in_two_out()
    out = model.predict(x, verbose=0)
    y = {"kind": out["kind"], "score": out["score"]}
    for suffix in ("keras", "tflite", "onnx"):
        report = kcompress.compress(model, tmp_path / f"o.{suffix}", test=(x, y))
        assert report.quality.metric == "mean_absolute_error"
        assert report.quality.artifact == pytest.approx(0, abs=1e-6)
        assert report.quality.agreement == pytest.approx(1, abs=1e-6)


def test_named_metric_and_strictness(tmp_path, data):
    report = kcompress.compress(dense(), tmp_path / "a.keras", data=data, metric="sparse_top_k_categorical_accuracy")
    assert report.quality.metric == "sparse_top_k_categorical_accuracy"
    assert report.quality.source == 1.0  # of 3 classes, the right one is among the top 5
    with pytest.raises(StrictError, match="nothing"):
        kcompress.compress(
            dense(), tmp_path / "b.keras", passes=[{"pass": "prune.magnitude", "skip": "nothing*"}], strict=True
        )
    assert not (tmp_path / "b.keras").exists()


def test_metric_that_needs_all_samples(tmp_path):
    random = np.random.default_rng(0)
    k = keras()
    model = seeded(k.Sequential([k.Input((8,), name="x"), k.layers.Dense(1, "sigmoid", name="head")]))
    x, y = random.random((60, 8), np.float32), np.arange(60) % 2
    report = kcompress.compress(model, tmp_path / "o.keras", data=(x, y), metric="AUC")
    assert report.quality.ci95 is None
    assert 0 < report.quality.source < 1
    assert report.quality.drop == 0


def test_labels_in_other_forms_give_the_same_accuracy(tmp_path, data):
    x, y = data
    found = [
        kcompress.compress(dense(), tmp_path / f"{i}.keras", test=(x, labels)).quality.source
        for i, labels in enumerate([y, y[:, None], y.astype(np.float32), np.eye(3)[y]])
    ]
    assert len(set(found)) == 1


def test_a_model_saved_but_never_called(tmp_path):
    k = keras()
    seeded(k.Sequential([k.Input((4,)), k.layers.Dense(2)])).save(tmp_path / "s.keras")
    for suffix in ("keras", "tflite", "onnx"):
        report = kcompress.compress(tmp_path / "s.keras", tmp_path / f"o.{suffix}")
        assert report.artifact.parameters == 10


def test_a_model_without_inputs_is_refused_by_name(tmp_path):
    k = keras()
    with pytest.warns(UserWarning, match="not yet been built"):
        k.Sequential([k.layers.Dense(2)], name="shapeless").save(tmp_path / "s.keras")
    done = shell("compress", "s.keras", "o.keras", cwd=tmp_path)
    assert done.returncode == 2
    assert "'shapeless'" in done.stderr
    assert "keras.Input" in done.stderr


KILLED = """
import os, signal
import numpy as np
random = np.random.default_rng(0)
x, y = random.random((40, 8), np.float32), np.arange(40) % 3
def once():
    return x, y
def fatal():
    class Batches:
        calls = 0
        def __iter__(self):
            Batches.calls += 1
            if Batches.calls > int(os.environ.get("KCOMPRESS_TEST_READS", "1000")):
                os.kill(os.getpid(), getattr(signal, os.environ["KCOMPRESS_TEST_SIGNAL"]))
            yield x, y
    return Batches()
"""


@pytest.fixture
def killable(tmp_path):
    (tmp_path / "killable.py").write_text(KILLED)
    dense().save(tmp_path / "s.keras")
    return tmp_path


@pytest.fixture
def heard():
    """Processes started meanwhile hear Ctrl-C, even if the tests run in the background, where a shell ignores it."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


def run_killable(folder: Path, reads: int = 1000, name: str = ""):
    """A run that gets the signal of this name when the test data is read once more than so often."""
    arguments = ["compress", "s.keras", "o.keras", "--overwrite", "--test", "killable:fatal", "--report", "r.json"]
    steps = ["--apply", "prune.magnitude:sparsity=0.5", "--apply", "quantize.float16"]
    return shell(*arguments, *steps, cwd=folder, KCOMPRESS_TEST_READS=str(reads), KCOMPRESS_TEST_SIGNAL=name)


@pytest.mark.slow
def test_a_killed_run_resumes_and_gives_the_same_bytes(killable):
    whole = run_killable(killable)
    assert whole.returncode == 0, whole.stderr
    assert "resumed" not in whole.stderr
    expected = (killable / "o.keras").read_bytes()
    (killable / "o.keras").unlink()
    reads = 4  # the test data is read for its shape, to check labels, for a sample; then the evaluation starts
    killed = run_killable(killable, reads, "SIGKILL")
    while killed.returncode == 0:
        (killable / "o.keras").unlink()
        reads -= 1
        killed = run_killable(killable, reads, "SIGKILL")
    assert killed.returncode == -signal.SIGKILL
    assert not (killable / "o.keras").exists()
    resumed = run_killable(killable)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after quantize.float16, pass 2 of 2" in resumed.stderr
    assert (killable / "o.keras").read_bytes() == expected
    assert not list(Path(os.environ["KCOMPRESS_CACHE"]).iterdir())
    assert len(json.loads((killable / "r.json").read_text())["passes"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interrupted_run_leaves_nothing_half_written(name, code, killable, heard):
    before = sorted(p.name for p in killable.iterdir() if p.is_file())
    done = run_killable(killable, 1, name)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in killable.iterdir() if p.is_file()) == before


def test_other_settings_do_not_resume(tmp_path, monkeypatch):
    from kcompress.formats.keras.format import Keras

    model, logs = dense(), []
    hooks = kcompress.Hooks(log=logs.append)
    whole = Keras.write

    def broken(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Keras, "write", broken)
    with pytest.raises(KeyboardInterrupt):
        kcompress.compress(model, tmp_path / "o.keras", passes=["prune.magnitude:sparsity=0.5"], hooks=hooks)
    monkeypatch.setattr(Keras, "write", whole)
    kcompress.compress(model, tmp_path / "a.keras", passes=["prune.magnitude:sparsity=0.6"], hooks=hooks)
    assert logs == []


def test_same_run_gives_same_bytes(tmp_path):
    kcompress.compress(residual(), tmp_path / "a.keras", passes=["prune.magnitude:sparsity=0.5"])
    time.sleep(1.1)  # past the resolution of time stamps
    kcompress.compress(residual(), tmp_path / "b.keras", passes=["prune.magnitude:sparsity=0.5"])
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()


def test_trusted_module_is_used_and_others_are_not(tmp_path, monkeypatch):
    (tmp_path / "mylayers.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('mylayers')\n"
        "class Scale(keras.layers.Layer):\n"
        "    def build(self, shape):\n"
        "        self.table = self.add_weight(shape=(shape[-1], 2), name='table')\n"
        "    def call(self, x):\n"
        "        return keras.ops.matmul(x, self.table)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import mylayers

    k = keras()
    model = seeded(k.Sequential([k.Input((4,)), mylayers.Scale(name="scale"), k.layers.Dense(2, name="head")]))
    model.save(tmp_path / "s.keras")
    with pytest.raises(UnsafeError, match="'scale'"):
        kcompress.compress(tmp_path / "s.keras", tmp_path / "o.keras")
    assert not (tmp_path / "o.keras").exists()
    report = kcompress.compress(
        tmp_path / "s.keras",
        tmp_path / "o.keras",
        trust=["mylayers"],
        passes=["prune.magnitude:layers=[scale,head]", "quantize.float16"],
    )
    assert [entry["layer"] for entry in report.passes[0].changed] == ["scale", "head"]
    assert report.passes[1].skipped[0]["layer"] == "scale"


def test_what_is_wrong_with_the_recipe_is_found_before_the_model_is_read(tmp_path):
    with pytest.raises(UsageError, match="sparsity"):
        kcompress.compress("none.keras", tmp_path / "o.keras", passes=["prune.magnitude:sparsity=2"])
