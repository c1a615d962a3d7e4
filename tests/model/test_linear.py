"""Which layers are linear, along which axes, and what scaling and shifting their channels gives."""

import numpy as np
import pytest

from kcompress.model.linear import linear, with_bias
from tests.models import keras

k = keras()
nn = k.layers


@pytest.mark.parametrize(
    ("equation", "bias", "expected"),
    [
        ("abc,cd->abd", "d", True),
        ("...x,xy->...y", "y", True),
        ("abc,cd->abd", None, True),
        ("abc,cd->abd", "bd", False),
        ("abc,cd->adb", None, False),
        ("abc,dc->abd", None, False),
        ("abc,bd->acd", None, False),
        ("abc,cde->abde", "de", False),
    ],
)
def test_an_einsum_is_linear_in_channels_where_it_is_a_matrix_on_the_last_axis(equation, bias, expected):
    layer = nn.EinsumDense(equation, (None,) * (len(equation.split("->")[1]) - 1), bias_axes=bias)
    assert (linear(layer) is not None) is expected


class Mine(nn.Dense):
    """A custom layer."""


@pytest.mark.parametrize("build", [lambda: nn.LSTM(3), lambda: nn.ConvLSTM2D(3, 2), nn.ReLU, lambda: Mine(3)])
def test_other_and_custom_layers_are_not_taken_for_linear(build):
    assert linear(build()) is None


@pytest.mark.parametrize(
    ("build", "reads"),
    [
        (lambda: nn.Dense(3), False),
        (lambda: nn.Conv2D(3, 3), False),
        (lambda: nn.Conv2D(3, 3, padding="same"), True),
        (lambda: nn.Conv2D(3, (1, 3), padding="same"), True),
        (lambda: nn.Conv2D(3, 1, padding="same"), False),
        (lambda: nn.Conv1D(3, 3, padding="causal"), True),
        (lambda: nn.Conv2DTranspose(3, 2), True),
        (lambda: nn.Conv2DTranspose(3, 1, strides=2), True),
        (lambda: nn.Conv2DTranspose(3, 1), False),
    ],
)
def test_whether_some_outputs_see_fewer_inputs(build, reads):
    assert linear(build()).reads_padding is reads


def test_ranges_of_a_grouped_kernel_are_those_of_each_input_s_own_group():
    layer = nn.Conv2D(4, 1, groups=2)
    kernel = np.array([[1, -2, 5, 6], [3, 4, -7, 8]], float).reshape(1, 1, 2, 4)
    found = linear(layer)
    assert found.inputs({"kernel": kernel}) == found.outputs({"kernel": kernel}) == 4
    np.testing.assert_array_equal(found.input_ranges({"kernel": kernel}), [2, 4, 6, 8])
    np.testing.assert_array_equal(found.output_ranges({"kernel": kernel}), [3, 4, 7, 8])


def test_a_bias_is_made_only_for_a_shift_and_nothing_is_changed_in_place():
    found, weights = linear(nn.Dense(2)), {"kernel": np.ones((2, 2))}
    assert set(found.shift_inputs(weights, np.zeros(2))) == {"kernel"}
    np.testing.assert_array_equal(found.shift_inputs(weights, np.array([1.0, 2.0]))["bias"], [3, 3])
    found.scale_outputs(weights, np.array([2.0, 3.0]))
    np.testing.assert_array_equal(weights["kernel"], np.ones((2, 2)))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2D(4, 3, use_bias=False, activation="relu"),
        nn.EinsumDense("abc,cd->abd", (None, 4), activation="relu"),
    ],
)
def test_a_layer_with_a_bias_is_otherwise_the_same(layer):
    new = with_bias(layer)
    changed = {key for key, value in new.get_config().items() if value != layer.get_config()[key]}
    assert changed in ({"use_bias"}, {"bias_axes"})
