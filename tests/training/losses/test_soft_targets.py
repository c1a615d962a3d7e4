import numpy as np
import pytest

from kcompress.training.losses.output_kind import output_kinds
from kcompress.training.losses.soft_targets import feature_loss, similarity, soft_targets, to_logits
from tests.models import keras, seeded

k = keras()
RANDOM = np.random.default_rng(0)
Z_T, Z_S = RANDOM.normal(size=(2, 6, 4)).astype(np.float32)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def kl(teacher, student, temperature):
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return float((p * np.log(p / q)).sum(-1).mean() * temperature**2)


def loss(kind, output, temperature, theirs=Z_T):
    (found,) = soft_targets([kind], 0, temperature)
    return float(found.compute_loss((theirs,), (output,)))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_is_the_divergence_of_softened_classes_whatever_the_student_gives(temperature):
    expected = kl(Z_T, Z_S, temperature)
    assert loss("logits", Z_S, temperature) == pytest.approx(expected, rel=1e-4)
    assert loss("probabilities", softmax(Z_S), temperature) == pytest.approx(expected, rel=1e-4)


def test_a_sigmoid_is_two_classes():
    theirs = np.asarray(to_logits(sigmoid(Z_T), "sigmoid"))
    expected = kl(np.stack([0 * Z_T, Z_T], -1), np.stack([0 * Z_S, Z_S], -1), 2.0)
    assert loss("sigmoid", sigmoid(Z_S), 2.0, theirs) == pytest.approx(expected, rel=1e-4)
    assert loss("binary_logits", Z_S, 2.0, theirs) == pytest.approx(expected, rel=1e-4)


def test_other_values_are_to_be_met():
    assert loss("values", Z_S, 3.0) == pytest.approx(float(((Z_T - Z_S) ** 2).mean()), rel=1e-5)


def test_no_loss_is_left_where_both_agree_and_features_are_left_alone():
    (found,) = soft_targets(["probabilities"], 1, 3.0)
    made = (softmax(Z_T), Z_S)
    assert float(found.compute_loss((Z_T, Z_T), made)) == pytest.approx(0, abs=1e-5)


def test_similarity_knows_no_shapes_but_which_samples_are_alike():
    assert float(similarity(Z_T, Z_T * 3)) == pytest.approx(0, abs=1e-6)
    turned = Z_T @ np.linalg.qr(RANDOM.normal(size=(4, 4)))[0].astype(np.float32)
    assert float(similarity(Z_T, np.concatenate([turned, turned], 1))) == pytest.approx(0, abs=1e-5)
    assert float(similarity(Z_T, Z_S)) > 0.1


def test_a_feature_loss_compares_its_own_pair_alone():
    found = feature_loss(1, 2, 1, "mse")
    assert float(found.compute_loss((Z_T, Z_T, Z_T), (Z_S, Z_S, Z_T))) == 0
    assert float(found.compute_loss((Z_T, Z_T, Z_T), (Z_T, Z_T, Z_S))) > 0.1


def test_an_output_of_unknown_kind_is_taken_for_what_the_teacher_tells():
    def model(activation):
        return seeded(k.Sequential([k.Input((4,), name="x"), k.layers.Dense(3, activation)]))

    batch = {"x": Z_T}
    assert output_kinds((model(None), model("softmax")), batch, None) == [["logits"], ["probabilities"]]
    assert output_kinds((model("sigmoid"), model(None)), batch, None) == [["sigmoid"], ["binary_logits"]]
    assert output_kinds((model(None), model(None)), batch, None) == [["values"], ["values"]]
    assert output_kinds((model(None), model(None)), batch, ["classes"]) == [["logits"], ["logits"]]
