"""Where passes that rescale channels may change a layer."""

from kcompress.passes.edits import Edits
from kcompress.quantization.plan import FLOAT16, QuantPlan
from tests.models import keras

k = keras()
nn = k.layers


def test_a_layer_that_a_wrapper_uses_too_is_left_alone():
    dense, alone = nn.Dense(4, name="d"), nn.Dense(4, name="alone")
    x = k.Input((5, 4), name="x")
    edits = Edits(k.Model(x, nn.TimeDistributed(dense, name="each")(alone(dense(x)))), QuantPlan())
    assert edits.objection(dense) == "another layer uses the weights of d too"
    assert edits.objection(alone) is None


def test_a_layer_whose_weights_are_on_a_grid_or_integers_is_left_alone():
    model = k.Sequential([k.Input((4,)), nn.Dense(4, name="a"), nn.Dense(4, name="b")])
    assert Edits(model, QuantPlan({"a/kernel": FLOAT16})).objection(model.layers[0]) == (
        "kernel of a is on a quantization grid already"
    )
    assert Edits(model, QuantPlan()).objection(model.layers[1]) is None
    model.layers[1].quantize("int8")
    assert Edits(model, QuantPlan()).objection(model.layers[1]) == "kernel of b is stored as int8"
