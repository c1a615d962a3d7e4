import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.numerics.mixture import closest, corrected, likeliest


def test_equally_good_members_keep_equal_weights():
    probabilities = np.full((3, 50), 0.4)
    np.testing.assert_allclose(likeliest(probabilities, np.ones(50)), np.full(3, 1 / 3))


def test_weights_of_a_mixture_are_those_that_made_the_cases():
    random = np.random.default_rng(0)
    tables = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    drawn = random.choice(3, 40_000, p=0.7 * tables[0] + 0.3 * tables[1])
    found = likeliest(tables[:, drawn], np.ones(len(drawn)))
    np.testing.assert_allclose(found, [0.7, 0.3], atol=0.02)  # about three standard errors of 40,000 draws


def test_a_count_stands_for_as_many_cases():
    probabilities = np.array([[0.9, 0.2, 0.3], [0.3, 0.4, 0.5]])
    repeated = np.repeat(probabilities, [5, 1, 2], axis=1)
    np.testing.assert_allclose(
        likeliest(probabilities, np.array([5, 1, 2])), likeliest(repeated, np.ones(8)), atol=1e-9
    )


def test_a_member_that_rules_out_what_happens_gets_no_weight_and_no_warning():
    found = likeliest(np.array([[0.0] * 20, [0.5] * 20]), np.ones(20))
    np.testing.assert_allclose(found, [0, 1], atol=1e-6)


def test_values_of_a_blend_give_back_its_weights():
    predictions = np.random.default_rng(1).normal(size=(3, 500))
    target = np.array([0.2, 0.5, 0.3]) @ predictions
    np.testing.assert_allclose(closest(predictions, target), [0.2, 0.5, 0.3], atol=1e-6)  # an exact solution exists


def test_a_member_that_only_harms_gets_a_weight_of_zero():
    random = np.random.default_rng(2)
    target = random.normal(size=400)
    found = closest(np.stack([target + random.normal(0, 0.1, 400), -5 * target]), target)
    np.testing.assert_allclose(found, [1, 0], atol=1e-3)


@settings(max_examples=50)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_weights_are_shares_and_no_single_member_is_closer(members, cases, seed, scale):
    random = np.random.default_rng(seed)
    predictions, target = scale * random.normal(size=(members, cases)), scale * random.normal(size=cases)
    weights = closest(predictions, target)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    error = np.square(weights @ predictions - target).mean()
    assert error <= np.square(predictions - target).mean(1).min() * (1 + 1e-6)  # of the descent's last step


def test_a_correction_finds_what_made_the_target():
    random = np.random.default_rng(3)
    inputs, matrix = random.normal(size=(300, 4)), random.normal(size=(4, 2))
    found, bias = corrected(inputs, inputs @ matrix + [1.0, -2.0], np.zeros((4, 2)), 1e-9)
    np.testing.assert_allclose(found, matrix, atol=1e-6)
    np.testing.assert_allclose(bias, [1.0, -2.0], atol=1e-6)


def test_a_correction_stays_at_its_start_where_nothing_speaks_against_it():
    random = np.random.default_rng(4)
    start = random.normal(size=(3, 2))
    inputs = np.zeros((10, 3))
    found, bias = corrected(inputs, np.ones((10, 2)), start, 0.1)
    np.testing.assert_allclose(found, start)
    np.testing.assert_allclose(bias, [1.0, 1.0])
