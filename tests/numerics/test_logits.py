import numpy as np
import pytest

from kcompress.numerics.logits import logits, ratio

Z = np.random.default_rng(0).normal(0, 8, (6, 5))


def test_probabilities_give_back_the_logits_behind_them():
    shares = (np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)).astype(np.float32)
    wanted = Z - Z.mean(-1, keepdims=True)
    np.testing.assert_allclose(logits(shares, "probabilities"), wanted, atol=1e-5)  # float32
    np.testing.assert_allclose(logits(np.log(shares), "logits"), wanted, atol=1e-5)


def test_a_sigmoid_gives_back_its_logit():
    z = np.linspace(-12, 12, 9)
    np.testing.assert_allclose(logits(1 / (1 + np.exp(-z)), "sigmoid"), z, rtol=1e-6)
    np.testing.assert_array_equal(logits(z, "binary_logits"), z)


@pytest.mark.parametrize("kind", ["probabilities", "sigmoid"])
def test_certainty_has_a_finite_logit(kind):
    assert np.isfinite(logits(np.array([[0.0, 1.0]], np.float32), kind)).all()


def test_other_values_stay_as_they_are():
    np.testing.assert_array_equal(logits(Z, "values"), Z)


def test_a_ratio_of_what_is_no_number_is_infinite():
    assert ratio(float("nan"), 1.0) == ratio(float("inf"), 1.0) == ratio(1.0, 0.0) == float("inf")
    assert (ratio(0.0, 0.0), ratio(3.0, 4.0)) == (0.0, 0.75)
