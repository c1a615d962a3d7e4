import re

import numpy as np
import pytest

from kcompress.data import resolve
from kcompress.errors import DataError, UsageError

X, Y = np.arange(48, dtype=np.uint8).reshape(6, 4, 2), np.arange(6)


def fitted(source, **inputs):
    """The first batch of x after fitting to inputs of these sample shapes."""
    return next(resolve(test=source).test.fit_to({name: (None, *shape) for name, shape in inputs.items()}).batches(6)).x


def test_an_array_goes_to_the_only_input_unchanged():
    x = fitted((X, Y), image=(4, 2))
    assert list(x) == ["image"]
    assert np.array_equal(x["image"], X)
    assert x["image"].dtype == np.uint8


def test_a_missing_last_axis_of_one_is_added():
    assert fitted(X, image=(4, 2, 1))["image"].shape == (6, 4, 2, 1)
    assert fitted(Y, number=(1,))["number"].shape == (6, 1)


def test_open_axes_take_any_length():
    assert fitted(X, image=(None, 2))["image"].shape == (6, 4, 2)


def test_a_tuple_goes_by_position_and_a_dict_by_name_in_the_order_of_the_model():
    assert list(fitted(((X, Y), Y), left=(4, 2), right=())) == ["left", "right"]
    x = fitted({"right": Y, "left": X}, left=(4, 2), right=())
    assert list(x) == ["left", "right"]
    assert np.array_equal(x["right"], Y)


def test_keys_without_their_prefix_suit_inputs_that_have_it():
    assert list(fitted({"x_left": X, "x_right": Y}, x_left=(4, 2), x_right=())) == ["x_left", "x_right"]


def test_fitting_keeps_labels_number_and_fingerprint():
    data = resolve(test=(X, Y)).test
    other = data.fit_to({"image": (None, 4, 2)})
    assert next(other.batches(6)).y.tolist() == Y.tolist()
    assert (other.samples, other.labelled, other.fingerprint()) == (6, True, data.fingerprint())


def test_fitting_anew_starts_from_the_data_as_it_was():
    data = resolve(test=X).test.fit_to({"old": (None, 4, 2)}).fit_to({"new": (None, 4, 2, 1)})
    assert {name: x.shape for name, x in next(data.batches(2)).x.items()} == {"new": (2, 4, 2, 1)}


@pytest.mark.parametrize(
    ("source", "inputs", "message"),
    [
        (X, {"image": (28, 28, 1)}, "x has samples of shape (4, 2), the model's input 'image' wants (28, 28, 1); give"),
        (X, {"image": (4, 2, 2)}, "x has samples of shape (4, 2), the model's input 'image' wants (4, 2, 2)"),
        (((X, Y), Y), {"a": (4, 2), "b": (2,)}, "x[1] has samples of shape (), the model's input 'b' wants (2,)"),
        (X, {"a": (4, 2), "b": (4, 2)}, "x is 1 array, the model has 2 inputs ('a', 'b'); give one array for each"),
        (((X, X), Y), {"a": (4, 2)}, "x is 2 arrays, the model has 1 input ('a')"),
        (
            {"a": X, "imag": X},
            {"a": (4, 2), "image": (4, 2)},
            "nothing for the model's input 'image' among 'a', 'imag' (d",
        ),
        ({"a": X, "b": X, "c": X}, {"b": (4, 2)}, "the model has no input 'a', 'c'; its inputs are 'b'; leave out"),
    ],
)
def test_data_that_the_model_cannot_take_is_refused(source, inputs, message):
    with pytest.raises(DataError, match=f"^test: {re.escape(message)}"):
        fitted(source, **inputs)


@pytest.mark.parametrize(("size", "limit"), [(0, None), (-1, None), (1, -1)])
def test_impossible_batch_sizes_and_limits_are_refused_at_once(size, limit):
    with pytest.raises(UsageError):
        resolve(test=X).test.batches(size, limit)


def test_a_limit_of_nothing_gives_nothing():
    assert list(resolve(test=X).test.batches(2, 0)) == []
