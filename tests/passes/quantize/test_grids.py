"""Kernels on grids of whole numbers: every kernel lands on its grid and in the plan, or is declined with a reason.

Covers: passes/quantize/_grid.py, passes/quantize/binary.py, passes/quantize/weights.py.
"""

import numpy as np
import pytest

from kcompress.errors import UsageError
from kcompress.model.view import nodes
from kcompress.passes import find
from kcompress.passes.base import Context, Need
from kcompress.quantization.plan import QuantPlan
from tests.models import dense, residual
from tests.passes.models import KERNELS, convolutional, everything

WEIGHTS, BINARY, INT8 = find("quantize.weights"), find("quantize.binary"), find("quantize.int8")


def weights(model):
    return {node.qualified(w): w.values for node in nodes(model) for w in node.weights}


@pytest.fixture(scope="module")
def whole():
    return everything()


@pytest.mark.parametrize("step", [WEIGHTS(bits=4), WEIGHTS(scale="power_of_two"), INT8(mode="weight_only"), BINARY()])
def test_every_kernel_of_every_layer_type_lands_on_its_grid_and_nothing_else_changes(step, whole):
    result = step.apply(whole, Context())
    before, after = weights(whole), weights(result.model)
    skipped = {skip.layer for skip in result.skipped}
    planned = {f"{node}/{name}" for node, names in KERNELS.items() for name in names if node not in skipped}
    assert set(result.formats) == planned
    for name, values in after.items():
        if name in planned:
            assert result.formats[name].holds(values)
        else:
            np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("target", ["onnx", "keras"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_a_channel_has_no_more_values_than_its_bits_allow(bits, target):
    result = WEIGHTS(bits=bits).apply(convolutional(), Context(target=target))
    for node in nodes(result.model):
        for weight in node.kernels:
            format = result.formats[node.qualified(weight)]
            used, largest = np.abs(format.levels(weight.values)).max(), 2 ** (bits - 1) - 1
            if target == "onnx":
                assert used == largest
            else:
                assert 8 / 9 * largest - 0.5 <= used <= largest  # 4 significant bits are 1/8 apart or less


def test_one_scale_per_output_channel_or_one_in_all():
    for granularity, expected in (("per_channel", 3), ("per_tensor", 1)):
        result = WEIGHTS(granularity=granularity).apply(residual(), Context())
        assert len(list(result.formats.values())[-1].scale) == expected


def test_rules_give_layers_bits_of_their_own():
    model = dense()
    first = next(node.name for node in nodes(model) if node.kernels)
    result = WEIGHTS(bits=4, rules=[{"layers": first, "bits": 8}]).apply(model, Context())
    assert [f.bits for f in result.formats.values()] == [8] + [4] * (len(result.formats) - 1)


def test_int8_keeps_the_grid_of_fewer_bits_and_weights_declines_it():
    first = WEIGHTS(bits=4).apply(residual(), Context())
    plan = QuantPlan(first.formats)
    second = INT8(mode="weight_only").apply(first.model, Context(plan=plan))
    assert not second.formats
    assert all("keeps its 4 bits" in change.detail for change in second.changes)
    third = WEIGHTS(bits=3).apply(first.model, Context(plan=plan))
    assert not third.changes
    assert {skip.reason for skip in third.skipped} == {"its kernels lie on a grid already"}


def test_float16_leaves_a_grid_of_whole_numbers_alone():
    first = WEIGHTS(bits=4).apply(residual(), Context())
    second = find("quantize.float16")().apply(first.model, Context(plan=QuantPlan(first.formats)))
    assert not second.changes
    assert not second.formats
    for name, values in weights(second.model).items():
        np.testing.assert_array_equal(values, weights(first.model)[name])


def test_a_binary_kernel_is_its_sign_times_the_mean_magnitude_of_its_channel():
    model = convolutional()
    result = BINARY(edges=True).apply(model, Context())
    before, after = weights(model), weights(result.model)
    name = next(name for name, format in result.formats.items() if format.axes == (3,))
    expected = np.sign(before[name]) * np.abs(before[name]).mean((0, 1, 2))
    np.testing.assert_allclose(after[name], expected, rtol=1e-6)  # a mean in float32


def test_a_ternary_kernel_has_three_values_per_channel_and_zeros_below_the_threshold():
    model = convolutional()
    result = BINARY(levels=3, edges=True).apply(model, Context())
    before, after = weights(model), weights(result.model)
    for name, format in result.formats.items():
        assert set(np.unique(format.levels(after[name]))) <= {-1, 0, 1}
        if format.axes == (3,):
            small = np.abs(before[name]) <= 0.7 * np.abs(before[name]).mean((0, 1, 2))
            np.testing.assert_array_equal(after[name] == 0, small)


def test_the_first_and_last_layer_are_spared_and_a_pruned_kernel_is_not_made_binary():
    model = residual()
    result = BINARY().apply(model, Context())
    assert [skip.reason.split(";")[0] for skip in result.skipped] == [
        "the first layer is spared",
        "the last layer is spared",
    ]
    pruned = find("prune.magnitude")(sparsity=0.5).apply(model, Context()).model
    assert not BINARY().apply(pruned, Context()).changes
    assert BINARY(levels=3).apply(pruned, Context()).changes


def test_only_static_mode_needs_calibration_data():
    assert INT8().required == {Need.CALIBRATION}
    assert INT8(mode="dynamic").required == INT8(mode="weight_only").required == frozenset()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mode": "dynamic", "activations": 16}, "go with mode=static"),
        ({"mode": "weight_only", "io": "int8"}, "go with mode=static"),
        ({"activations": 16, "io": "int8"}, "io=int8 goes with activations=8"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(fields, words):
    with pytest.raises(UsageError, match=words):
        INT8(**fields)


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(UsageError, match=rf"bits={bits} is not"):
        WEIGHTS(bits=bits)


def test_the_first_and_last_layer_of_the_model_are_spared_not_those_of_a_selection():
    result = BINARY(layers=("separable", "grouped")).apply(residual(), Context())
    assert [change.layer for change in result.changes] == ["separable", "grouped"]
