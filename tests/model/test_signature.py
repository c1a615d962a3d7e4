"""A model's inputs and outputs by name, in order, and how they are given to it."""

import numpy as np
import pytest

from kcompress.errors import UnsupportedError
from kcompress.model.signature import signature
from tests.models import dense, keras, two_in_two_out

k = keras()
nn = k.layers


def test_a_sequential_model_has_one_input_and_one_output():
    sign = signature(dense())
    assert sign.inputs == {"x": (None, 8)}
    assert sign.dtypes == {"x": "float32"}
    assert sign.outputs == ("head",)
    x = np.ones((2, 8), np.float32)
    assert dense()(sign.pack([x])).shape == (2, 3)


def test_dicts_of_inputs_and_outputs_come_in_the_order_of_their_keys():
    model = two_in_two_out()
    sign = signature(model)
    assert list(sign.inputs) == ["left", "right"]
    assert sign.outputs == ("kind", "score")
    left, right = np.zeros((1, 4)), np.ones((1, 4))
    assert {name: tensor.max() for name, tensor in sign.pack([left, right]).items()} == {"left": 0, "right": 1}
    assert [t.shape[1] for t in model.outputs] == [3, 2]  # kind, score: in the order of the names


def test_lists_of_inputs_keep_their_order_types_and_shapes():
    ids, image = k.Input((5,), dtype="int32", name="ids"), k.Input((None, 4, 3), batch_size=2, name="image")
    x = nn.Concatenate()([nn.Flatten()(nn.Embedding(9, 2)(ids)), nn.GlobalAveragePooling2D()(image)])
    sign = signature(k.Model([ids, image], x))
    assert sign.inputs == {"ids": (None, 5), "image": (2, None, 4, 3)}
    assert sign.dtypes == {"ids": "int32", "image": "float32"}
    assert sign.pack([1, 2]) == [1, 2]


def test_names_of_outputs_are_unique_whatever_the_layers_are_called():
    x, y = k.Input((4,)), k.Input((4,))
    twice, other = nn.Dense(3, name="dense"), nn.Dense(3, name="dense_1")
    sign = signature(k.Model([x, y], [twice(x), twice(y), other(x)]))
    assert len(set(sign.outputs)) == len(sign.outputs) == 3
    assert sign.outputs[2] == "dense_1"


def test_outputs_nested_in_a_dict_all_have_names():
    x = k.Input((4,))
    model = k.Model(x, {"b": nn.Dense(1)(x), "a": [nn.Dense(2)(x), nn.Dense(3)(x)]})
    sign = signature(model)
    assert sign.outputs == ("a_0", "a_1", "b")
    assert [t.shape[1] for t in model.outputs] == [2, 3, 1]


class Subclassed(k.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (Subclassed(name="mine"), "'mine' is a subclassed model"),
        (k.Sequential([nn.Dense(2)], name="open"), "'open' is a Sequential model without an input shape"),
    ],
)
def test_a_model_without_fixed_inputs_is_refused_with_what_to_do(model, kind):
    with pytest.raises(UnsupportedError, match=f"^{kind}; give it fixed inputs") as caught:
        signature(model)
    assert "\n" not in str(caught.value)
