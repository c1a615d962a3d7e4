"""Weights of models of one architecture are averaged.

Covers: passes/fuse/_architecture.py.
"""

import json

import numpy as np
import pytest

import kcompress
from kcompress.errors import ModelError, UnsafeError, UsageError
from kcompress.model.rebuild import fingerprint
from kcompress.model.view import nodes
from kcompress.passes import find
from kcompress.passes.base import Context
from tests.models import dense, keras, residual, seeded, two_in_two_out
from tests.passes.models import convolutional, everything
from tests.shell import assert_refused
from tests.shell import kcompress as command

k = keras()
nn = k.layers


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(model, name):
    model.save(name)
    return name


def averaged(model, ctx=None, **settings):
    return find("fuse.average_weights")(**settings).apply(model, ctx or Context())


def weights(model):
    return {node.qualified(w): w.values for node in nodes(model) for w in node.weights}


@pytest.mark.parametrize("build", [dense, residual, two_in_two_out, convolutional])
def test_every_weight_is_the_mean_of_all(build):
    model, others = build(), [seeded(build(), seed) for seed in (5, 6)]
    found = averaged(model, models=[saved(other, f"{n}.keras") for n, other in enumerate(others)])
    parts = [weights(each) for each in (model, *others)]
    for name, values in weights(found.model).items():
        np.testing.assert_allclose(values, np.mean([part[name] for part in parts], axis=0), atol=1e-7)  # float32
    assert {change.layer for change in found.changes} == {node.name for node in nodes(model) if node.weights}
    assert found.changes[0].detail.startswith("averaged over 3 models, weights moved by ")


def test_shares_weigh_the_models_the_given_one_first():
    model, other = dense(), seeded(dense(), 5)
    found = averaged(model, models=saved(other, "a.keras"), weights=[3, 1])
    kernels = [np.asarray(each.layers[0].kernel) for each in (model, other, found.model)]
    np.testing.assert_allclose(kernels[2], 0.75 * kernels[0] + 0.25 * kernels[1], atol=1e-7)


def test_a_rule_gives_a_layer_shares_of_its_own_and_others_are_left():
    model, other = dense(), seeded(dense(), 5)
    rules = [{"layers": "head", "weights": [0, 1]}]
    found = averaged(model, models=saved(other, "a.keras"), rules=rules, skip="hidden")
    np.testing.assert_array_equal(found.model.layers[-1].kernel, other.layers[-1].kernel)
    np.testing.assert_array_equal(found.model.layers[0].kernel, model.layers[0].kernel)
    assert [skip.layer for skip in found.skipped] == ["hidden"]


def test_names_that_keras_counts_on_do_not_matter():
    def build():
        return k.Sequential([k.Input((4,)), nn.Dense(3), nn.Dense(2)])

    model, other = build(), build()
    assert model.layers[0].name != other.layers[0].name
    found = averaged(model, models=saved(other, "a.keras"))
    expected = (np.asarray(model.layers[1].kernel) + np.asarray(other.layers[1].kernel)) / 2
    np.testing.assert_allclose(found.model.layers[1].kernel, expected, atol=1e-7)


def test_zeros_of_the_given_model_stay_zero():
    model = find("prune.magnitude")(sparsity=0.5).apply(dense(), Context()).model
    found = averaged(model, models=saved(seeded(dense(), 5), "a.keras"))
    before, after = (np.asarray(each.layers[0].kernel) for each in (model, found.model))
    np.testing.assert_array_equal(before == 0, after == 0)
    assert "; 64 zeros kept" in found.changes[0].detail
    assert not np.array_equal(before, after)


def test_weights_on_a_grid_are_put_back_on_it():
    rounded = find("quantize.weights")(bits=4).apply(dense(), Context())
    ctx = Context(plan=Context().plan.updated(rounded.formats))
    found = averaged(rounded.model, ctx, models=saved(seeded(dense(), 5), "a.keras"))
    format, values = rounded.formats["hidden/kernel"], np.asarray(found.model.layers[0].kernel)
    assert format.holds(values)
    assert not np.array_equal(values, np.asarray(rounded.model.layers[0].kernel))


def test_whole_numbers_are_those_of_the_given_model():
    def build(seed):
        layers = [k.Input((4,)), nn.Dense(3, name="d"), nn.Dropout(0.5, seed=seed, name="drop")]
        return seeded(k.Sequential(layers), seed)

    model, other = build(1), build(2)
    found = averaged(model, models=saved(other, "a.keras"))
    states = [[w for w in each.non_trainable_variables if "seed" in w.path] for each in (model, found.model)]
    np.testing.assert_array_equal(*(np.asarray(state[0]) for state in states))


def changed_dense(units=16, activation="relu", layers=()):
    parts = [k.Input((8,), name="x"), nn.Dense(units, activation, name="hidden"), nn.Dense(3, "softmax", name="head")]
    return k.Sequential([*parts[:2], *layers, parts[2]])


def crossed(swap):
    inputs = k.Input((4,), name="x")
    a = nn.Dense(4, name="a")(inputs)
    b = nn.Dense(4, name="b")(inputs if swap else a)
    return k.Model(inputs, nn.Subtract(name="minus")([a, b]))


@pytest.mark.parametrize(
    ("model", "other", "words"),
    [
        (dense, lambda: changed_dense(12), r"'hidden/kernel' is \(8, 16\) in the model and \(8, 12\) in that one"),
        (dense, lambda: changed_dense(activation="tanh"), "'hidden' has activation=relu in the model and tanh in that"),
        (dense, lambda: changed_dense(layers=[nn.ReLU()]), "'head' is a Dense, 're_lu.*' there a ReLU"),
        (
            dense,
            lambda: k.Sequential([k.Input((8,), name="x"), nn.Dense(16, "relu", name="hidden")]),
            r"'head' \(Dense\) is only in the model",
        ),
        (lambda: crossed(True), lambda: crossed(False), "'b' does not come behind the same layers there"),
    ],
)
def test_another_architecture_is_refused_by_the_first_difference(model, other, words):
    with pytest.raises(ModelError, match=rf"^fuse.average_weights: a.keras is of another architecture: {words}"):
        averaged(model(), models=saved(other(), "a.keras"))


def test_without_other_models_it_changes_nothing_and_says_why():
    model = everything()
    found = averaged(model)
    assert found.changes == ()
    assert fingerprint(found.model) == fingerprint(model)
    assert {skip.reason for skip in found.skipped} == {"there are no models to average with; give models"}


@pytest.mark.parametrize("shares", [[1], [1, -1], [0, 0], [1, 1, 1]])
def test_shares_that_cannot_be_are_refused(shares):
    with pytest.raises(UsageError, match=r"are no shares of 2 models, the given one first; give 2 numbers"):
        find("fuse.average_weights")(models="a.keras", weights=shares)


def test_a_rule_cannot_name_other_models():
    with pytest.raises(UsageError, match=r"rule for 'head': models are for all layers; a rule can set weights"):
        find("fuse.average_weights")(models="a.keras", rules=[{"layers": "head", "models": "b.keras"}])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("", ["no models to average with", "models=[b.keras]"]),
        (":models=none.keras", ["none.keras", "no such file", "fuse.average_weights"]),
        (":models=[m.keras,o.tflite]", ["o.tflite"]),
    ],
)
def test_files_are_looked_for_before_anything_is_read(fields, words, folder):
    saved(dense(), "m.keras")
    (folder / "o.tflite").write_bytes(b"x")
    done = command("compress", "m.keras", "o.keras", "--apply", f"fuse.average_weights{fields}", cwd=folder)
    assert_refused(done, 2, *words)


def test_a_file_that_would_run_code_is_refused_unless_it_is_trusted():
    def build(seed):
        layers = [k.Input((4,)), nn.Dense(2, name="d"), nn.Lambda(lambda v: v * 2, name="twice")]
        return seeded(k.Sequential(layers), seed)

    saved(build(1), "code.keras")
    plain = k.Sequential([k.Input((4,)), nn.Dense(2)])
    trusted = ["keras.layers.Lambda"]
    for trust, error, words in (([], UnsafeError, "'twice' .Lambda. runs code"), (trusted, ModelError, "architecture")):
        with pytest.raises(error, match=words):
            kcompress.compress(plain, "o.keras", passes=["fuse.average_weights:models=code.keras"], trust=trust)


def test_another_content_of_a_file_is_another_run(monkeypatch):
    """A run that was killed after averaging is not resumed with what another file of that name gave."""
    saved(dense(), "m.keras")
    saved(seeded(dense(), 1), "a.keras")
    steps = ["fuse.average_weights:models=a.keras"]
    with monkeypatch.context() as patch:
        patch.setattr("kcompress.api.compress._write", _killed)
        with pytest.raises(KeyboardInterrupt):
            kcompress.compress("m.keras", "o.keras", passes=steps)
    lines = []
    kcompress.compress("m.keras", "o.keras", passes=steps, hooks=kcompress.Hooks(log=lines.append), overwrite=True)
    assert lines == ["resumed after fuse.average_weights, pass 1 of 1"]
    with monkeypatch.context() as patch:
        patch.setattr("kcompress.api.compress._write", _killed)
        with pytest.raises(KeyboardInterrupt):
            kcompress.compress("m.keras", "p.keras", passes=steps)
    saved(seeded(dense(), 2), "a.keras")
    lines.clear()
    kcompress.compress("m.keras", "o.keras", passes=steps, hooks=kcompress.Hooks(log=lines.append), overwrite=True)
    assert lines == []
    expected = (np.asarray(dense().layers[0].kernel) + np.asarray(seeded(dense(), 2).layers[0].kernel)) / 2
    np.testing.assert_allclose(k.saving.load_model("o.keras").layers[0].kernel, expected, atol=1e-7)


def _killed(*_arguments):
    raise KeyboardInterrupt


def test_the_report_tells_what_was_averaged(folder):
    saved(dense(), "m.keras")
    saved(seeded(dense(), 1), "a.keras")
    done = command(
        "compress", "m.keras", "o.keras", "--json", "--apply", "fuse.average_weights:models=[a.keras]", cwd=folder
    )
    (entry,) = json.loads(done.stdout)["passes"]
    assert entry["config"] == {"models": ["a.keras"]}
    assert [item["layer"] for item in entry["changed"]] == ["hidden", "head"]
