"""Rows times the matrix give what the layer gives, for every layer that has a kernel with a matrix."""

import numpy as np
import pytest

from kcompress.model.matrices import from_matrix, has_matrix, positions, rows, to_matrix
from tests.models import keras, seeded

k = keras()
nn = k.layers
SERIES, IMAGE, VOLUME = (11, 4), (9, 7, 4), (5, 6, 4, 4)
CONVOLUTIONS = {
    "1d": (nn.Conv1D, (6, 3), {}, SERIES),
    "1d same strides": (nn.Conv1D, (6, 4), {"padding": "same", "strides": 3}, SERIES),
    "1d causal": (nn.Conv1D, (6, 3), {"padding": "causal"}, SERIES),
    "1d causal dilated": (nn.Conv1D, (6, 3), {"padding": "causal", "dilation_rate": 2}, SERIES),
    "1d causal strides": (nn.Conv1D, (6, 3), {"padding": "causal", "strides": 2}, SERIES),
    "1d groups": (nn.Conv1D, (6, 3), {"groups": 2}, SERIES),
    "2d": (nn.Conv2D, (6, (3, 2)), {}, IMAGE),
    "2d one by one": (nn.Conv2D, (6, 1), {}, IMAGE),
    "2d same": (nn.Conv2D, (6, (4, 3)), {"padding": "same"}, IMAGE),
    "2d strides": (nn.Conv2D, (6, 3), {"strides": (2, 3)}, IMAGE),
    "2d same strides": (nn.Conv2D, (6, 3), {"padding": "same", "strides": 2}, IMAGE),
    "2d same strides wider than the kernel": (nn.Conv2D, (6, 1), {"padding": "same", "strides": 2}, IMAGE),
    "2d dilated": (nn.Conv2D, (6, 3), {"dilation_rate": 2}, IMAGE),
    "2d same dilated": (nn.Conv2D, (6, (3, 2)), {"padding": "same", "dilation_rate": (2, 3)}, IMAGE),
    "2d groups": (nn.Conv2D, (6, 3), {"groups": 2, "padding": "same", "strides": 2}, IMAGE),
    "3d": (nn.Conv3D, (5, (2, 3, 2)), {}, VOLUME),
    "3d same strides": (nn.Conv3D, (5, 3), {"padding": "same", "strides": (1, 2, 3)}, VOLUME),
    "3d dilated": (nn.Conv3D, (5, 2), {"dilation_rate": 2}, VOLUME),
    "1d transposed": (nn.Conv1DTranspose, (6, 3), {"strides": 2}, SERIES),
    "2d transposed": (nn.Conv2DTranspose, (6, (3, 2)), {}, IMAGE),
    "2d transposed same": (nn.Conv2DTranspose, (6, 4), {"padding": "same", "strides": (2, 1)}, IMAGE),
    "2d transposed strides wider than the kernel": (nn.Conv2DTranspose, (6, 2), {"strides": 3}, IMAGE),
    "2d transposed same wide": (nn.Conv2DTranspose, (6, 2), {"strides": 3, "padding": "same"}, IMAGE),
    "3d transposed": (nn.Conv3DTranspose, (3, 2), {"strides": 2}, VOLUME),
}
DEPTHWISE = {
    "1d": (nn.DepthwiseConv1D, (3,), {}, SERIES),
    "1d same strides": (nn.DepthwiseConv1D, (3,), {"padding": "same", "strides": 2, "depth_multiplier": 2}, SERIES),
    "2d": (nn.DepthwiseConv2D, ((3, 2),), {}, IMAGE),
    "2d multiplier": (nn.DepthwiseConv2D, (3,), {"depth_multiplier": 3, "padding": "same"}, IMAGE),
    "2d strides": (nn.DepthwiseConv2D, (3,), {"padding": "same", "strides": 2}, IMAGE),
    "2d dilated": (nn.DepthwiseConv2D, (3,), {"dilation_rate": 2}, IMAGE),
}
SEPARABLE = {
    "1d": (nn.SeparableConv1D, (6, 3), {"depth_multiplier": 2}, SERIES),
    "2d": (nn.SeparableConv2D, (6, 3), {"padding": "same", "strides": 2, "depth_multiplier": 2}, IMAGE),
}
EINSUMS = {
    "abc,cd->abd": ((None, 5), (7, 4)),
    "...x,xy->...y": (5, (7, 4)),
    "abc,cde->abde": ((None, 2, 3), (7, 4)),
    "abcd,cde->abe": ((None, 5), (7, 3, 4)),
    "abc,bcd->ad": ((3,), (7, 4)),
    "abcd,dce->abe": ((None, 5), (7, 3, 4)),
    "abc,dc->abd": ((None, 5), (7, 4)),
    "ab...,bc->ac...": ((5, None), (4, 6)),
}
NO_PRODUCTS = {
    "a channel of its own": (lambda: nn.EinsumDense("abc,bcd->abd", (7, 3)), (7, 4)),
    "a scale": (lambda: nn.EinsumDense("abc,c->abc", (7, 4)), (7, 4)),
    "an axis summed without the kernel": (lambda: nn.EinsumDense("abc,cd->ad", 3), (7, 4)),
    "an output padding": (lambda: nn.Conv2DTranspose(4, 3, 2, output_padding=1), IMAGE),
    "dilation of a transposed one": (lambda: nn.Conv2DTranspose(4, 3, dilation_rate=2), IMAGE),
}


def run(layer, shape, samples=3):
    """The layer, without bias, on random data."""
    model = seeded(k.Sequential([k.Input(shape), layer]))
    x = np.random.default_rng(0).normal(size=(samples, *shape)).astype(np.float32)
    return x, k.ops.convert_to_numpy(model(x))


def product(layer, x, weight="kernel", chosen=None):
    """Rows times matrix, as (positions, groups × outputs)."""
    matrix = to_matrix(np.asarray(getattr(layer, weight)), layer, weight)
    found = np.concatenate([part @ matrix for part in rows(x, layer, weight, chosen)], axis=1)
    return found.swapaxes(0, 1).reshape(found.shape[1], -1)


def equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize("case", [*(("c", n) for n in CONVOLUTIONS), *(("d", n) for n in DEPTHWISE)], ids="-".join)
def test_patches_times_the_matrix_are_the_convolution(case):
    build, arguments, options, shape = {"c": CONVOLUTIONS, "d": DEPTHWISE}[case[0]][case[1]]
    layer = build(*arguments, **options, use_bias=False)
    x, y = run(layer, shape)
    assert has_matrix(layer)
    assert positions(x, layer) == np.prod(y.shape[:-1])
    equal(product(layer, x), y.reshape(-1, y.shape[-1]))


@pytest.mark.parametrize("case", SEPARABLE)
def test_a_separable_layer_is_a_depthwise_and_a_pointwise_matrix(case):
    build, arguments, options, shape = SEPARABLE[case]
    layer = build(*arguments, **options, use_bias=False)
    x, y = run(layer, shape)
    between = product(layer, x, "depthwise_kernel")
    equal(product(layer, x, "pointwise_kernel"), y.reshape(-1, 6))
    equal(between @ np.asarray(layer.pointwise_kernel).reshape(-1, 6), y.reshape(-1, 6))
    assert has_matrix(layer, "depthwise_kernel")
    assert has_matrix(layer, "pointwise_kernel")
    assert not has_matrix(layer, "bias")


@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 3, 4)])
def test_dense_sums_over_the_last_axis(shape):
    layer = nn.Dense(5, use_bias=False)
    x, y = run(layer, shape)
    assert has_matrix(layer)
    assert positions(x, layer) == np.prod(y.shape[:-1])
    equal(product(layer, x), y.reshape(-1, 5))


@pytest.mark.parametrize("equation", EINSUMS)
def test_an_einsum_that_is_a_product(equation):
    size, shape = EINSUMS[equation]
    layer = nn.EinsumDense(equation, size)
    x, y = run(layer, shape)
    assert has_matrix(layer)
    if equation == "ab...,bc->ac...":
        y = np.moveaxis(y, 1, -1)  # the product's outputs come last
    found = product(layer, x)
    assert positions(x, layer) == len(found)
    equal(found, y.reshape(found.shape))


@pytest.mark.parametrize("case", NO_PRODUCTS)
def test_what_is_no_product_has_no_matrix(case):
    build, shape = NO_PRODUCTS[case]
    layer = build()
    run(layer, shape)
    assert not has_matrix(layer)


def test_embeddings_cells_and_layers_that_are_not_kerass_own_have_no_matrix():
    class Custom(nn.Dense):
        pass

    assert not has_matrix(nn.Embedding(4, 3), "embeddings")
    assert not has_matrix(nn.LSTMCell(3), "kernel")
    assert not has_matrix(nn.BatchNormalization(), "gamma")
    assert not has_matrix(nn.Dense(3), "bias")
    assert not has_matrix(Custom(3))


KERNELS = [
    *((c, "kernel") for c in (*CONVOLUTIONS.values(), *DEPTHWISE.values())),
    *((c, w) for c in SEPARABLE.values() for w in ("depthwise_kernel", "pointwise_kernel")),
    *(((nn.EinsumDense, (e, size), {}, shape), "kernel") for e, (size, shape) in EINSUMS.items()),
    ((nn.Dense, (5,), {}, (4,)), "kernel"),
]


@pytest.mark.parametrize(("case", "weight"), KERNELS)
def test_a_matrix_goes_back_to_its_kernel(case, weight):
    build, arguments, options, shape = case
    layer = build(*arguments, **options)
    run(layer, shape)
    values = np.asarray(getattr(layer, weight))
    matrix = to_matrix(values, layer, weight)
    assert matrix.size == values.size
    np.testing.assert_array_equal(from_matrix(matrix, layer, weight), values)


def test_only_chosen_positions_are_taken_in_pieces(monkeypatch):
    monkeypatch.setattr("kcompress.model.matrices.PIECE", 4)
    layer = nn.Conv2D(6, 3, padding="same", use_bias=False)
    x, y = run(layer, IMAGE)
    chosen = np.array([0, 5, 17, 40, 62, 63, 100, 126, 188])
    assert [part.shape for part in rows(x, layer, chosen=chosen)] == [(1, 4, 36), (1, 4, 36), (1, 1, 36)]
    equal(product(layer, x, chosen=chosen), y.reshape(-1, 6)[chosen])


def test_channels_may_come_first():
    layer = nn.Conv2D(6, 3, padding="same", use_bias=False, data_format="channels_last")
    x, y = run(layer, IMAGE)
    layer.data_format = "channels_first"  # TensorFlow on a CPU cannot run such a layer itself
    equal(product(layer, np.moveaxis(x, -1, 1)), y.reshape(-1, 6))
