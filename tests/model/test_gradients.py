import numpy as np
import pytest

from kcompress.model.gradients import gradients
from tests import other_process
from tests.models import keras

k = keras()
X, Y = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), np.array([2.0, 4.0], np.float32)


def test_derivatives_are_those_of_the_formula():
    value, (by_x, by_y) = gradients(lambda t: k.ops.sum(k.ops.square(t[0]) * t[1]), [X, Y])
    assert value == pytest.approx(float((X**2 * Y).sum()), rel=1e-6)  # float32
    np.testing.assert_allclose(by_x, 2 * X * Y, rtol=1e-6)
    np.testing.assert_allclose(by_y, (X**2).sum(0), rtol=1e-6)


def test_an_array_that_the_value_does_not_depend_on_has_zeros():
    _, (by_x, by_y) = gradients(lambda t: k.ops.sum(t[0]), [X, Y])
    assert by_x.tolist() == np.ones_like(X).tolist()
    assert by_y.shape == Y.shape
    assert not by_y.any()


def test_arrays_are_left_alone():
    before = X.copy()
    gradients(lambda t: k.ops.sum(t[0] * t[0]), [X])
    assert np.array_equal(X, before)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_gives_the_same(backend):
    pytest.importorskip(backend)
    for test in (test_derivatives_are_those_of_the_formula, test_an_array_that_the_value_does_not_depend_on_has_zeros):
        other_process.call(backend, test)
