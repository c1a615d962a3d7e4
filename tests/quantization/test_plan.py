"""A plan names weights and their grids, and survives being written to JSON."""

import numpy as np
import pytest

from kcompress.codec import decode, encode
from kcompress.quantization.plan import FLOAT16, Activations, QuantPlan, WeightFormat


def test_a_format_holds_exactly_what_lies_on_its_grid():
    assert FLOAT16.holds(np.array([0.5, -2.0, 0.0], np.float32))
    assert not FLOAT16.holds(np.array([0.5, 0.1], np.float32))


def test_the_nearest_values_are_on_the_grid_and_zeros_stay():
    values = np.array([0.1, 0.0, -0.3], np.float32)
    nearest = FLOAT16.nearest(values)
    assert FLOAT16.holds(nearest)
    assert nearest[1] == 0
    np.testing.assert_allclose(nearest, values, rtol=2.0**-11)  # half a step of 11 significant bits


def test_an_empty_plan_is_false():
    assert not QuantPlan()
    assert QuantPlan({"a/kernel": FLOAT16})


def test_updating_adds_and_replaces_and_leaves_the_plan_itself_alone():
    first = QuantPlan({"a/kernel": FLOAT16, "b/kernel": FLOAT16})
    other = WeightFormat("float", 32)
    second = first.updated({"b/kernel": other, "c/kernel": FLOAT16})
    assert dict(second.weights) == {"a/kernel": FLOAT16, "b/kernel": other, "c/kernel": FLOAT16}
    assert list(first.weights) == ["a/kernel", "b/kernel"]
    assert first.weights["b/kernel"] is FLOAT16


INT4 = WeightFormat("int", 4, -7, 7, (1,), (0.1, 0.25))


@pytest.mark.parametrize(
    "plan",
    [
        QuantPlan(),
        QuantPlan({"a/kernel": FLOAT16, "inner/b/kernel": INT4}),
        QuantPlan({"a/kernel": INT4}, Activations("static", ranges="mse", samples=7)),
    ],
)
def test_a_plan_comes_back_from_json(plan):
    assert decode(QuantPlan, encode(plan)) == plan
