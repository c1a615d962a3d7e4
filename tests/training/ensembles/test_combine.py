"""Members are combined by their average, by weights or by a head that is trained.

Covers: training/ensembles/stacking.py.
"""

from itertools import product

import numpy as np
import pytest

from kcompress.data.objects import open_data
from kcompress.errors import DataError, ModelError
from kcompress.model.rebuild import fingerprint
from kcompress.model.signature import signature
from kcompress.model.view import nodes
from kcompress.training.ensembles import stacking
from kcompress.training.ensembles.combine import ensemble
from kcompress.training.losses.model_loss import loss_for
from kcompress.training.losses.output_kind import output_kinds
from tests.models import keras, seeded, two_in_two_out
from tests.other_process import STOCK, call
from tests.quick import STEPS
from tests.stock import read
from tests.sweep import some

k = keras()
nn = k.layers
HOWS = ["average", "weighted", "stacked"]
CENTRES = np.random.default_rng(9).normal(size=(3, 4))


def points(count=400, seed=0):
    """Samples around three centres, and which centre each belongs to."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, count)
    return (CENTRES[y] + random.normal(0, 0.6, (count, 4))).astype(np.float32), y


X, Y = points()


def classifier(activation="softmax", skill=2.0, name="classifier", **options):
    """A linear classifier of `points`: the nearest centre, more surely with more skill; below 0 it is always wrong."""
    model = k.Sequential([k.Input((4,), name="x", **options), nn.Dense(3, activation, name="head")], name=name)
    model.layers[-1].set_weights([skill * CENTRES.T * 2, -skill * np.square(CENTRES).sum(1)])
    return model


def single(activation="sigmoid", skill=1.0):
    model = k.Sequential([k.Input((4,), name="x"), nn.Dense(1, activation, name="head")])
    model.layers[-1].set_weights([skill * (CENTRES[0] - CENTRES[1])[:, None], np.zeros(1)])
    return model


def regressor(factor, name="regressor"):
    model = k.Sequential([k.Input((4,), name="x"), nn.Dense(2, name="value")], name=name)
    model.layers[-1].set_weights([factor * np.eye(4)[:, :2], np.zeros(2)])
    return model


def data(y, x=X):
    return open_data((x, y), "data").unsplit


def combine(models, how, training=None, seed=0):
    fitted = None if training is None else training.fit_to(signature(models[0]).inputs)
    return ensemble(models, [f"m{number}.keras" for number in range(len(models))], how, fitted, seed)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def run(model, x=X):
    return np.asarray(model(x, training=False))


def likelihood(p, y):
    return np.log(p[np.arange(len(y)), y]).mean()


def test_an_average_is_the_mean_of_the_probabilities_of_all():
    models = [classifier(skill=0.5), classifier(skill=2.0), classifier(skill=-0.3)]
    expected = np.mean([run(model) for model in models], axis=0)
    np.testing.assert_allclose(run(combine(models, "average").model), expected, atol=1e-6)  # float32


def test_logits_become_probabilities_before_they_are_averaged():
    models = [classifier(None, 0.5), classifier("softmax", 2.0)]
    expected = (softmax(run(models[0])) + run(models[1])) / 2
    np.testing.assert_allclose(run(combine(models, "average").model), expected, atol=1e-6)


def test_labels_tell_that_outputs_are_logits():
    models = [classifier(None, 0.5), classifier(None, 2.0)]
    expected = (softmax(run(models[0])) + softmax(run(models[1]))) / 2
    np.testing.assert_allclose(run(combine(models, "average", data(Y)).model), expected, atol=1e-6)
    values = (run(models[0]) + run(models[1])) / 2
    np.testing.assert_allclose(run(combine(models, "average").model), values, atol=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_single_units_become_probabilities_too(activation):
    models, y = [single(activation, 0.5), single("sigmoid", 3.0)], (Y == 0).astype(int)
    first = run(models[0]) if activation else 1 / (1 + np.exp(-run(models[0])))
    found = run(combine(models, "average", data(y)).model)
    np.testing.assert_allclose(found, (first + run(models[1])) / 2, atol=1e-6)


def test_a_bad_member_gets_almost_no_weight_and_the_good_one_is_not_hurt():
    models = [classifier(skill=1.0), classifier(skill=-1.0)]
    found = combine(models, "weighted", data(Y))
    assert found.weights["head"][0] > 0.98
    assert sum(found.weights["head"]) == pytest.approx(1)
    mixed = sum(share * run(model) for share, model in zip(found.weights["head"], models, strict=True))
    np.testing.assert_allclose(run(found.model), mixed, atol=1e-6)


def test_weights_of_values_are_those_that_made_them():
    models = [regressor(1.0), regressor(3.0)]
    found = combine(models, "weighted", data(X[:, :2] * 1.5))
    np.testing.assert_allclose(found.weights["value"], [0.75, 0.25], atol=1e-4)  # float32 predictions
    np.testing.assert_allclose(run(found.model), X[:, :2] * 1.5, atol=1e-3)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_weights_of_single_units_go_by_both_answers(activation):
    models, keep = [single(activation, 1.0), single(activation, -1.0)], Y < 2
    y = (Y[keep] == 0).astype(int)
    assert combine(models, "weighted", data(y, X[keep])).weights["head"][0] > 0.9
    assert combine(models, "weighted", data(1 - y, X[keep])).weights["head"][0] < 0.1


def test_a_head_turns_a_member_that_is_always_wrong_around(monkeypatch):
    monkeypatch.setattr(stacking, "PLAN", STEPS)
    models = [classifier(skill=-0.05), classifier(skill=-0.1)]
    before, after = (run(combine(models, how, data(Y)).model) for how in ("average", "stacked"))
    assert (before.argmax(1) == Y).mean() < 0.2
    assert (after.argmax(1) == Y).mean() > 0.8
    np.testing.assert_allclose(after.sum(1), 1, atol=1e-5)


def test_a_head_is_no_worse_than_the_average_on_new_data():
    x, y = points(2000, seed=5)
    models = [classifier(skill=0.2), classifier(None, 0.4)]
    average, stacked = (run(combine(models, how, data(Y)).model, x) for how in ("average", "stacked"))
    assert likelihood(stacked, y) > likelihood(average, y)  # both members are too unsure


def test_a_head_on_values_finds_what_no_mean_of_them_is():
    models = [regressor(1.0), regressor(1.0)]
    found = combine(models, "stacked", data(X[:, :2] * 4 + 7)).model
    np.testing.assert_allclose(run(found), X[:, :2] * 4 + 7, atol=0.05)  # the ridge holds it to the mean


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_a_head_on_single_units_learns_the_answer(activation):
    models, keep = [single(activation, -0.2), single(activation, -0.1)], Y < 2
    found = run(combine(models, "stacked", data((Y[keep] == 0).astype(int), X[keep])).model, X[keep])
    assert ((found[:, 0] > 0.5) == (Y[keep] == 0)).mean() > 0.8


@pytest.mark.parametrize("how", some(HOWS, lambda how: how != "average"))
def test_one_hot_labels_do_what_classes_do(how):
    models = [classifier(skill=1.0), classifier(None, skill=0.3)]
    first, second = (combine(models, how, data(y)) for y in (Y, np.eye(3, dtype=np.float32)[Y]))
    np.testing.assert_allclose(run(first.model), run(second.model), atol=1e-5)


def test_opens_in_stock_keras_and_gives_the_same(tmp_path):
    found = {}
    for how in HOWS:
        members = [classifier("softmax", 0.5), classifier(None, 1.0), classifier("softmax", 2.0)]
        found[how] = combine(members, how, data(Y)).model
        found[how].save(tmp_path / f"{how}.keras")
    np.save(tmp_path / "x.npy", X)
    for how in HOWS:
        call(STOCK, read, str(tmp_path / f"{how}.keras"), str(tmp_path / "x.npy"))
        with np.load(tmp_path / f"{how}.keras.npz") as theirs:
            np.testing.assert_allclose(theirs["outputs"], run(found[how]), atol=1e-6)


@pytest.mark.parametrize("how", some(HOWS, lambda how: how == "stacked"))
def test_the_same_seed_gives_the_same_model(how):
    models = [classifier(skill=0.5), classifier(skill=1.0)]
    first, second = (combine(models, how, data(Y), seed=3) for _ in range(2))
    assert fingerprint(first.model) == fingerprint(second.model)


def test_another_seed_holds_out_other_samples():
    many = data(*reversed(points(6000)))
    first, second = (combine([classifier(), classifier(skill=0.3)], "weighted", many, seed=seed) for seed in (0, 1))
    assert first.weights != second.weights


@pytest.mark.parametrize("how", HOWS)
def test_the_members_are_copied_without_compile_state_and_left_alone(how):
    models = [classifier(skill=0.5), classifier(skill=1.0)]
    models[0].compile("adam", "mse")
    before = [fingerprint(model) for model in models]
    found = combine(models, how, data(Y)).model
    assert [fingerprint(model) for model in models] == before
    assert models[0].compiled
    assert not any(getattr(layer, "compiled", False) for layer in found._flatten_layers())
    own = {id(v) for model in models for v in model.weights}
    assert not own & {id(v) for v in found.weights}


def test_members_of_one_name_get_names_of_their_own():
    found = combine([classifier(), classifier()], "average").model
    assert {"classifier/head", "classifier_2/head"} <= {node.name for node in nodes(found)}
    assert signature(found).outputs == ("head",)


def test_a_member_that_computes_in_half_precision_and_one_of_other_input_names_take_part():
    inputs = k.Input((4,), name="other", dtype="float16")
    half = k.Model(inputs, nn.Dense(3, "softmax", name="end", dtype="mixed_float16")(inputs))
    half.set_weights(classifier(skill=0.5).get_weights())
    first = classifier()
    found = combine([first, half], "average").model
    assert found.output.dtype == "float32"
    assert signature(found).dtypes == {"x": "float32"}
    np.testing.assert_allclose(run(found), (run(first) + run(half)) / 2, atol=2e-3)  # of float16


def test_whole_numbers_and_fractions_meet_in_floats():
    inputs = k.Input((4,), name="x", dtype="int32")
    rounding = k.Model(inputs, nn.Dense(3, "softmax", name="head")(k.ops.cast(inputs, "float32")))
    found = combine([rounding, classifier()], "average").model
    assert signature(found).dtypes == {"x": "float32"}
    expected = (run(rounding, X.astype(int)) + run(classifier())) / 2
    np.testing.assert_allclose(run(found), expected, atol=1e-6)


def other_order():
    """`two_in_two_out` with its inputs in another order, in a list, and its outputs too."""
    left, right = k.Input((4,), name="left"), k.Input((4,), name="right")
    x = nn.Concatenate()([left, right * 3])
    return seeded(k.Model([right, left], [nn.Dense(2, name="score")(x), nn.Dense(3, "softmax", name="kind")(x)]), 4)


def both_inputs(count=60):
    random = np.random.default_rng(6)
    return {"left": random.normal(size=(count, 4)), "right": random.normal(size=(count, 4))}


@pytest.mark.parametrize("how", HOWS)
def test_several_inputs_and_outputs_go_by_name(how):
    models, x = [two_in_two_out(), other_order()], both_inputs()
    y = {"score": np.random.default_rng(7).normal(size=(60, 2)), "kind": np.arange(60) % 3}
    fitted = open_data((x, y), "data").unsplit.fit_to(signature(models[0]).inputs)
    found = ensemble(models, ["a", "b"], how, fitted, 0)
    assert signature(found.model).outputs == ("kind", "score")
    given = {key: np.asarray(value) for key, value in found.model(x).items()}
    np.testing.assert_allclose(given["kind"].sum(1), 1, atol=1e-5)
    if how == "stacked":
        return
    first, second = models[0](x), dict(zip(("score", "kind"), models[1]([x["right"], x["left"]]), strict=True))
    for name, value in given.items():
        shares = found.weights[name]
        expected = shares[0] * np.asarray(first[name]) + shares[1] * np.asarray(second[name])
        np.testing.assert_allclose(value, expected, atol=1e-5)


@pytest.mark.parametrize("how", some(HOWS, lambda how: how == "stacked"))
def test_members_of_a_fixed_batch_fix_it(how):
    found = combine([classifier(), classifier(batch_size=4)], how, data(Y[:50], X[:50]))
    assert found.model.input_shape == (4, 4)
    with pytest.raises(ModelError, match=r"m1.keras: input 'x' has batches of 8, others have 4; give models"):
        combine([classifier(batch_size=4), classifier(batch_size=8)], how, data(Y))


@pytest.mark.parametrize("how", HOWS)
def test_dense_predictions_are_combined_position_by_position(how):
    def pixels(seed):
        inputs = k.Input((5, 4), name="x")
        return seeded(k.Model(inputs, nn.Dense(3, "softmax", name="head")(inputs)), seed)

    x = np.random.default_rng(8).normal(size=(40, 5, 4)).astype(np.float32)
    found = combine([pixels(1), pixels(2)], how, data(np.arange(200).reshape(40, 5) % 3, x))
    assert run(found.model, x).shape == (40, 5, 3)
    np.testing.assert_allclose(run(found.model, x).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: k.Sequential([k.Input((5,)), nn.Dense(3)]), r"m1.keras: its inputs are \(5,\), those of m0.keras \(4"),
        (
            lambda: k.Sequential([k.Input((4,)), nn.Dense(2)]),
            r"m1.keras: its outputs are \(2,\), those of m0.keras \(3",
        ),
        (two_in_two_out, r"m1.keras: its inputs are \(4,\), \(4,\), those of m0.keras \(4,\); give models"),
    ],
)
def test_other_shapes_are_refused_with_both(other, words):
    with pytest.raises(ModelError, match=words):
        combine([classifier(), other()], "average")


@pytest.mark.parametrize("how", ["weighted", "stacked"])
def test_weights_and_heads_need_labels(how):
    models = [classifier(), classifier()]
    for training in (None, open_data(X, "data").unsplit):
        with pytest.raises(DataError, match=f"{how} needs labels; give training data with them, or average"):
            combine(models, how, training)


def test_labels_that_are_no_probabilities_are_refused():
    with pytest.raises(DataError, match=r"data: labels from -1 to 2 are no probabilities, which output 'head' gives"):
        combine([single(), single()], "weighted", data(np.arange(400)[:, None] % 4 - 1.0))


def test_a_handful_of_samples_trains_no_head():
    with pytest.raises(DataError, match="data: 6 samples are too few to train a head on; give at least 10"):
        combine([classifier(), classifier()], "stacked", data(Y[:6], X[:6]))


@pytest.mark.parametrize(
    ("how", "kind"), some(product(HOWS, ["softmax", "sigmoid"]), lambda case: case != ("weighted", "sigmoid"))
)
def test_what_it_gives_is_known_to_be_probabilities(how, kind):
    """By a loss on labels, and as a teacher of a student of logits."""
    models, y = [classifier(), classifier(skill=0.5)], Y
    if kind == "sigmoid":
        models, y = (
            [classifier("sigmoid"), classifier("sigmoid", skill=0.5)],
            np.eye(3, dtype=np.float32)[Y] * [1, 1, 0],
        )
    found = combine(models, how, data(y)).model
    assert loss_for(found, data(y)).functions[0].get_config()["from_logits"] is False
    expected = {"softmax": "probabilities", "sigmoid": "sigmoid"}[kind]
    assert output_kinds((classifier(None), found), {"x": X[:8]}, None)[1] == [expected]
