"""Weights are recognized after what converters do to them, and nothing else is taken for them."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kcompress.numerics.matching import Wanted, channel_ratios, exact_key, match

random = np.random.default_rng(0)
KERNEL = random.standard_normal((3, 3, 4, 8)).astype(np.float32)
OTHER = random.standard_normal((3, 3, 4, 8)).astype(np.float32)
WANTED = {"conv/kernel": Wanted(KERNEL, (3,)), "other/kernel": Wanted(OTHER, (3,))}
shapes = st.lists(st.integers(1, 5), min_size=2, max_size=4)


def trained(shape, seed):
    """Values as training leaves them: no two alike."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "made",
    [
        lambda w: w.transpose(3, 0, 1, 2),
        lambda w: w.transpose(3, 2, 0, 1),
        lambda w: w.reshape(-1, 8),
        lambda w: w.reshape(-1, 8).T.copy(),
        lambda w: (w * np.linspace(0.1, 7, 8, dtype=np.float32)).transpose(3, 0, 1, 2),
        lambda w: w * np.linspace(-3, 7, 8, dtype=np.float32),
    ],
    ids=["OHWI", "OIHW", "flat", "flat transposed", "scaled per channel", "scaled with signs"],
)
def test_is_found_after(made):
    assert match({"a": made(KERNEL), "b": made(OTHER)}, WANTED) == {"a": ("conv/kernel",), "b": ("other/kernel",)}


@given(shapes, st.integers(0, 99), st.data())
def test_any_transposed_and_reshaped_copy_is_found_among_others(shape, seed, data):
    w = trained(shape, seed)
    moved = w.transpose(data.draw(st.permutations(range(w.ndim))))
    moved = moved.reshape(data.draw(st.sampled_from([moved.shape, (1, -1), (-1, moved.shape[-1])])))
    assert exact_key(moved) == exact_key(w)
    tensors = {"other": trained(shape, seed + 1000), "it": moved}
    assert match(tensors, {"w": Wanted(w, (w.ndim - 1,))}) == {"it": ("w",)}


@given(shapes, st.integers(0, 99), st.data())
def test_a_factor_per_channel_is_seen_through(shape, seed, data):
    w = trained(shape, seed)
    assume(math.prod(shape[:-1]) > 1)  # one weight per channel cannot be told from any other after scaling
    factors = np.random.default_rng(seed).uniform(0.01, 100, shape[-1]) * data.draw(st.sampled_from([1, -1]))
    scaled = np.moveaxis((w * factors).astype(np.float32), -1, data.draw(st.integers(0, w.ndim - 1)))
    assert match({"t": scaled}, {"w": Wanted(w, (-1,))}) == {"t": ("w",)}


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 99), st.sampled_from([0, 1]), st.booleans())
def test_two_kernels_joined_along_an_axis_are_both_found(rows, columns, seed, axis, transposed):
    parts = [trained((rows, columns), seed + n) for n in (0, 1000, 2000)]
    joined = np.concatenate(parts[:2], axis)
    tensor = (joined.T if transposed else joined)[None]
    wanted = {f"part{n}": Wanted(part, (1,)) for n, part in enumerate(parts)}
    assert match({"t": tensor}, wanted) == {"t": ("part0", "part1")}


def test_gates_in_another_order_for_two_directions_are_found_as_onnx_keeps_them():
    kernels = [trained((5, 4 * 3), seed) for seed in (0, 1)]
    tensor = np.stack([w.T.reshape(4, 3, 5)[[0, 3, 1, 2]].reshape(12, 5) for w in kernels])
    wanted = {name: Wanted(w, (1,)) for name, w in zip(("forward", "backward"), kernels, strict=True)}
    assert match({"W": tensor}, wanted) == {"W": ("forward", "backward")}


def test_two_weights_end_to_end_in_one_tensor_are_found():
    tensor = np.concatenate([KERNEL.ravel(), OTHER.ravel()]).reshape(2, -1)
    assert match({"both": tensor}, WANTED) == {"both": ("conv/kernel", "other/kernel")}


def test_others_are_not_taken_for_it():
    changed = KERNEL.copy()
    changed[0, 0, 0, 0] += 0.05
    tensors = {
        "unrelated": random.standard_normal(KERNEL.shape).astype(np.float32),
        "changed": changed,
        "integers": np.arange(KERNEL.size),
        "double": KERNEL.astype(np.float64),
        "part": KERNEL[..., :4],
    }
    assert match(tensors, WANTED) == {}


@given(shapes, st.integers(0, 99), st.integers(2, 5))
def test_unrelated_tensors_are_never_taken_for_it(shape, seed, times):
    assume(math.prod(shape) > 2)
    w = trained(shape, seed)
    tensors = {
        "same shape": trained(shape, seed + 1000),
        "flat": trained(w.size, seed + 2000),
        "larger": trained((times, *shape), seed + 3000),
        "zeros": np.zeros(shape, np.float32),
        "ones": np.ones(w.size, np.float32),
    }
    assert match(tensors, {"w": Wanted(w, (-1,))}) == {}


def test_a_vector_is_not_taken_for_a_kernel_with_one_weight_per_channel():
    kernel = trained((1, 8), 0)
    assert match({"bias": trained(8, 1)}, {"dense/kernel": Wanted(kernel, (1,))}) == {}


def test_a_kernel_with_one_weight_left_per_channel_is_not_taken_for_another():
    first, second = (np.diag(trained(4, seed)) for seed in (0, 1))
    assert match({"t": second}, {"w": Wanted(first, (1,))}) == {}
    assert match({"t": first.T.copy()}, {"w": Wanted(first, (1,))}) == {"t": ("w",)}


def test_a_tensor_that_is_a_weight_exactly_is_not_also_another_one_scaled():
    wanted = {"double/kernel": Wanted(2 * KERNEL, (3,)), "conv/kernel": Wanted(KERNEL, (3,))}
    assert match({"t": KERNEL}, wanted) == {"t": ("conv/kernel",)}


def test_few_distinct_values_do_not_make_a_larger_tensor_hold_it():
    levels = np.random.default_rng(0).integers(-7, 8, (6, 8)).astype(np.float32)
    larger = np.random.default_rng(1).integers(-7, 8, (64, 64)).astype(np.float32)
    assert match({"larger": larger}, {"w": Wanted(levels, (1,))}) == {}


def test_a_kernel_of_zeros_is_not_taken_to_lie_in_any_tensor_with_zeros():
    larger = trained((9, 9), 0)
    larger[:4] = 0
    zeros = np.zeros((3, 3), np.float32)
    assert match({"larger": larger}, {"w": Wanted(zeros, (1,))}) == {}
    assert match({"same": zeros.reshape(1, 9)}, {"w": Wanted(zeros, (1,))}) == {"same": ("w",)}


def test_weights_of_equal_values_are_all_found_in_every_copy():
    wanted = {"first/kernel": Wanted(KERNEL, (3,)), "second/kernel": Wanted(KERNEL.copy(), (3,))}
    both = ("first/kernel", "second/kernel")
    assert match({"a": KERNEL, "b": KERNEL.transpose(3, 0, 1, 2)}, wanted) == {"a": both, "b": both}
    assert match({"a": 2 * KERNEL}, wanted) == {"a": both}


def test_depthwise_channels_on_two_axes_are_found_after_folding():
    kernel = random.standard_normal((3, 3, 4, 2)).astype(np.float32)
    scaled = (kernel.reshape(3, 3, 8) * np.linspace(1, 2, 8, dtype=np.float32))[None]
    assert match({"t": scaled}, {"dw/kernel": Wanted(kernel, (2, 3))}) == {"t": ("dw/kernel",)}


def test_a_channel_of_zeros_has_ratio_zero():
    w = np.array([[0.0, 3.0], [0.0, -4.0]], np.float32)
    np.testing.assert_allclose(channel_ratios(w, (1,)), [[0, 7 / 5], [0, 4 / 5]])  # Σ|w| = 7, max|w| = 4, √Σw² = 5
