"""An ensemble is written in every format and measured against its members.

Covers: cli/commands/ensemble.py, training/ensembles/members.py.
"""

import json

import numpy as np
import pytest

import kcompress
from kcompress.errors import ModelError, OutputError, UsageError
from kcompress.formats import find
from tests.models import dense, keras, seeded, two_in_two_out
from tests.shell import assert_refused
from tests.shell import kcompress as command
from tests.sweep import some

k = keras()
X = np.random.default_rng(0).random((80, 8), np.float32)
Y = np.arange(80) % 3
HOWS = ["average", "weighted", "stacked"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2):
        seeded(dense(), seed).save(f"m{seed}.keras")
    k.Sequential([k.Input((8,)), k.layers.Dense(4)]).save("four.keras")
    np.savez("d.npz", x=X, y=Y)
    np.savez("x.npz", x=X)
    return tmp_path


def mean(x=X):
    return (np.asarray(seeded(dense(), 1)(x)) + np.asarray(seeded(dense(), 2)(x))) / 2


@pytest.mark.parametrize("suffix", ["keras", "tflite", "onnx"])
def test_writes_the_mean_of_its_members_in_every_format(suffix, folder):
    kcompress.ensemble(["m1.keras", "m2.keras"], f"o.{suffix}")
    runner = find(folder / f"o.{suffix}").open(folder / f"o.{suffix}")
    (found,) = runner({next(iter(runner.inputs)): X})
    np.testing.assert_allclose(found, mean(), atol=1e-6)  # float32
    assert {path.name for path in folder.iterdir()} >= {f"o.{suffix}"}
    assert not list(folder.glob(".*partial*"))


@pytest.mark.parametrize("how", HOWS)
def test_members_are_measured_against_the_file(how, folder):
    report = kcompress.ensemble(["m1.keras", "m2.keras"], "o.keras", how=how, data="d.npz")
    right = Y[4::5]
    given = np.asarray(k.saving.load_model("o.keras")(X[4::5])).argmax(1)
    assert report.ensemble.quality.samples == 16
    assert report.ensemble.quality.source == pytest.approx((given == right).mean())
    for seed, member in zip((1, 2), report.members, strict=True):
        own = np.asarray(seeded(dense(), seed)(X[4::5])).argmax(1)
        assert member.quality.artifact == pytest.approx((own == right).mean())
        assert member.quality.agreement == pytest.approx((own == given).mean())
        assert member.figures.path == f"m{seed}.keras"
    assert set(report.weights) == (set() if how == "stacked" else {"head"})


def test_weights_are_not_found_on_test_data(folder):
    """On its test samples the first member is always right; on the others the second is."""
    first, second = (np.asarray(seeded(dense(), seed)(X)).argmax(1) for seed in (1, 2))
    np.savez("split.npz", x_train=X, y_train=second, x_test=X[:20] + 0, y_test=first[:20])
    report = kcompress.ensemble(["m1.keras", "m2.keras"], "o.keras", how="weighted", data="split.npz")
    assert report.weights["head"][1] > 0.6


def test_a_member_that_gives_logits_is_judged_by_its_probabilities(folder):
    """A logit of 0.2 is yes, a probability of 0.2 is no."""
    for name, activation in (("p.keras", "sigmoid"), ("z.keras", None)):
        model = k.Sequential([k.Input((8,), name="x"), k.layers.Dense(1, activation, name="head")])
        seeded(model, 3)
        model.layers[-1].bias.assign([0.2 - np.asarray(model.layers[-1].kernel).sum() / 2])  # logits around 0.2
        model.save(name)
    logits = np.asarray(k.saving.load_model("z.keras")(X))[:, 0]
    np.savez("yes.npz", x=X, y=(logits > 0).astype(int))
    for how in some(HOWS, lambda how: how == "average"):
        report = kcompress.ensemble(["p.keras", "z.keras"], "o.keras", how=how, data="yes.npz", overwrite=True)
        assert [member.quality.artifact for member in report.members] == [1, 1]


def test_models_in_memory_with_several_inputs_and_outputs(folder):
    models = [two_in_two_out(), seeded(two_in_two_out(), 5)]
    x = {name: np.random.default_rng(1).normal(size=(40, 4)) for name in ("left", "right")}
    y = {"score": np.random.default_rng(2).normal(size=(40, 2)), "kind": np.eye(3)[np.arange(40) % 3]}
    for suffix in some(("keras", "tflite", "onnx"), lambda suffix: suffix == "keras"):
        report = kcompress.ensemble(models, f"o.{suffix}", how="weighted", data=(x, y))
        assert report.ensemble.quality.samples == 8
        assert list(report.weights) == ["kind", "score"]
    loaded = k.saving.load_model("o.keras")
    first, second, both = (model(x) for model in (*models, loaded))
    for name, (a, b) in report.weights.items():
        np.testing.assert_allclose(both[name], a * np.asarray(first[name]) + b * np.asarray(second[name]), atol=1e-5)


@pytest.mark.parametrize("how", some(HOWS, lambda how: how == "stacked"))
def test_the_same_inputs_and_seed_give_the_same_bytes(how, folder):
    for name in ("a.keras", "b.keras"):
        kcompress.ensemble(["m1.keras", "m2.keras"], name, how=how, data="d.npz", seed=4)
    assert (folder / "a.keras").read_bytes() == (folder / "b.keras").read_bytes()


def test_members_are_only_read(folder):
    before = [(folder / f"m{seed}.keras").read_bytes() for seed in (1, 2)]
    kcompress.ensemble(["m1.keras", "m2.keras"], "o.keras")
    assert [(folder / f"m{seed}.keras").read_bytes() for seed in (1, 2)] == before
    with pytest.raises(OutputError, match="only read"):
        kcompress.ensemble(["m1.keras", "m2.keras"], "m2.keras", overwrite=True)


def test_shapes_that_differ_are_refused_and_nothing_is_written(folder):
    with pytest.raises(ModelError, match=r"four.keras: its outputs are \(4,\), those of m1.keras \(3,\)"):
        kcompress.ensemble(["m1.keras", "four.keras"], "o.keras")
    assert not (folder / "o.keras").exists()
    assert not list(folder.glob(".*"))


def test_weights_that_are_not_finite_are_refused(folder):
    model = dense()
    model.layers[0].bias.assign(np.full(16, np.nan))
    with pytest.raises(ModelError, match="hidden/bias holds NaN"):
        kcompress.ensemble([dense(), model], "o.keras")


@pytest.mark.parametrize("how", ["weighted", "stacked"])
def test_labels_are_asked_for_before_anything_is_read(how, folder):
    for data in (None, "x.npz"):
        with pytest.raises(UsageError, match=f"--how {how} needs labelled training data; give it with --data"):
            kcompress.ensemble(["m1.keras", "m2.keras"], "o.keras", how=how, data=data)


def test_the_command_prints_what_the_members_and_the_ensemble_reach(folder):
    done = command("ensemble", "m1.keras", "m2.keras", "o.keras", "--how", "weighted", "--data", "d.npz", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("o.keras", "m1.keras", "m2.keras", "accuracy", "agreement", "head: 0."):
        assert words in done.stdout
    done = command(
        *("ensemble", "m1.keras", "m2.keras", "o.keras", "--data", "d.npz", "--json", "--overwrite"), cwd=folder
    )
    document = json.loads(done.stdout)
    assert document["how"] == "average"
    assert document["weights"] == {"head": [0.5, 0.5]}
    assert [document["ensemble"]["path"], *(m["path"] for m in document["members"])] == [
        *("o.keras", "m1.keras", "m2.keras")
    ]
    assert document["members"][0]["quality"]["metric"] == "accuracy"
    assert command("ensemble", "m1.keras", "m2.keras", "q.keras", "--quiet", cwd=folder).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m1.keras", "o.keras"], ["1 model(s)", "two or more"]),
        (["m1.keras", "m3.keras", "o.keras"], ["m3.keras", "no such file"]),
        (["m1.keras", "m2.keras", "o.pb"], [".pb", ".keras, .onnx, .tflite"]),
        (["m1.keras", "m2.keras", "four.keras"], ["four.keras", "--overwrite"]),
        (["m1.keras", "m2.keras", "o.keras", "--how", "mean"], ["mean", "average"]),
        (["m1.keras", "m2.keras", "o.keras", "--metric", "AUC"], ["--metric", "test data"]),
        (["m1.keras", "m2.keras", "o.keras", "--how", "stacked"], ["--how stacked", "--data"]),
        (["m1.keras", "four.keras", "o.keras"], ["(4,)", "(3,)"]),
        ([], ["MODEL"]),
    ],
)
def test_mistakes_are_one_line(arguments, words, folder):
    assert_refused(command("ensemble", *arguments, cwd=folder), 2, *words)
