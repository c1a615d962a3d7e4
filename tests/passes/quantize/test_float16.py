"""float16 weights: every kernel lands on the grid and in the plan; what cannot is declined with a reason."""

import numpy as np
import pytest

from kcompress.model.view import nodes
from kcompress.passes.base import Context, Skip
from kcompress.passes.prune.magnitude import PruneMagnitude
from kcompress.passes.quantize.float16 import QuantizeFloat16
from kcompress.quantization.plan import FLOAT16
from tests.models import dense, keras
from tests.passes.models import KERNELS, everything

k = keras()
nn = k.layers
CUSTOM = "a custom layer; name it in layers or in a rule to store it as float16"


@pytest.fixture(scope="module")
def whole():
    """A model with every layer type; passes never change what they are given."""
    return everything()


def apply(model, **fields):
    return QuantizeFloat16(**fields).apply(model, Context())


def weights(model):
    return {node.qualified(w): w.values for node in nodes(model) for w in node.weights}


def test_every_kernel_of_every_layer_type_is_rounded_and_planned_and_nothing_else(whole):
    result = apply(whole)
    before, after = weights(whole), weights(result.model)
    planned = {f"{layer}/{name}" for layer, names in KERNELS.items() for name in names}
    assert dict(result.formats) == dict.fromkeys(planned, FLOAT16)
    for name, values in after.items():
        if name in planned:
            np.testing.assert_array_equal(values, before[name].astype(np.float16).astype(np.float32))
            assert not np.array_equal(values, before[name])
        else:
            np.testing.assert_array_equal(values, before[name])
    assert {change.layer for change in result.changes} == set(KERNELS)
    assert result.skipped == (Skip("custom", CUSTOM),)


@pytest.mark.parametrize("fields", [{"layers": "custom"}, {"layers": "none", "rules": [{"layers": "custom"}]}])
def test_a_custom_layer_s_matrices_are_stored_where_it_is_named_but_no_whole_numbers(whole, fields):
    result = apply(whole, **fields)
    before, after = weights(whole), weights(result.model)
    assert set(result.formats) == {"custom/matrix", "custom/table"}
    np.testing.assert_array_equal(after["custom/numbers"], before["custom/numbers"])
    assert FLOAT16.holds(after["custom/matrix"])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1e6, "matrix has values beyond 65504, the largest float16"),
        (-65505, "matrix has values beyond 65504, the largest float16"),
        (np.nan, "matrix has values that are no finite numbers"),
    ],
)
def test_values_that_float16_cannot_hold_are_declined_in_custom_layers_too(whole, value, reason):
    model = everything()
    matrix = model.get_layer("custom").matrix
    matrix.assign(np.where(np.arange(4) == 1, value, matrix.numpy()))
    assert apply(model, layers="custom").skipped == (Skip("custom", reason),)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1e6, "kernel has values beyond 65504, the largest float16"),
        (np.inf, "kernel has values that are no finite numbers"),
        (np.nan, "kernel has values that are no finite numbers"),
    ],
)
def test_values_that_float16_cannot_hold_are_declined(value, reason):
    model = dense()
    model.layers[1].kernel.assign(np.full((16, 3), value))
    result = apply(model)
    assert result.skipped == (Skip("head", reason),)
    assert set(result.formats) == {"hidden/kernel"}


def test_the_largest_float16_is_stored():
    model = dense()
    model.layers[0].kernel.assign(np.full((8, 16), -65504.0))
    result = apply(model)
    assert result.skipped == ()
    assert weights(result.model)["hidden/kernel"].min() == -65504


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_another_type_are_declined(dtype):
    model = k.Sequential([k.Input((4,)), nn.Dense(3, dtype=dtype, name="d")])
    result = apply(model)
    assert result.skipped == (Skip("d", f"kernel is stored as {dtype}; only float32 is handled"),)
    assert not result.formats


def test_values_that_are_exact_already_are_planned_and_said_to_be():
    once = apply(dense()).model
    again = apply(once)
    assert [change.detail for change in again.changes] == [
        "kernel as float16; its values were exact in float16 already"
    ] * 2
    assert set(again.formats) == {"hidden/kernel", "head/kernel"}


def test_zeros_stay_zero():
    pruned = PruneMagnitude(sparsity=0.7).apply(dense(), Context()).model
    before, after = weights(pruned), weights(apply(pruned).model)
    np.testing.assert_array_equal(after["hidden/kernel"] == 0, before["hidden/kernel"] == 0)
