"""A copy computes the same and is independent."""

import numpy as np
import pytest

from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.rebuild import assign, copy, edited, fingerprint, renumber_shared
from kcompress.model.signature import signature
from kcompress.model.view import nodes
from tests import other_process
from tests.models import BUILDERS, batch_for, dense, keras, residual, seeded, two_in_two_out

k = keras()
nn = k.layers


def doubled(x):
    return 2 * k.ops.relu(x)


def squared(labels, predictions):
    return k.ops.mean((labels - predictions) ** 2)


def distance(labels, predictions):
    return k.ops.max(k.ops.abs(labels - predictions))


class Scale(nn.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), name="w")

    def call(self, x):
        return x * self.w


class Block(k.Model):
    """A subclassed model, whose config does not hold its name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = nn.Dense(3, name="inner")

    def call(self, x):
        return self.inner(x)


def custom():
    inputs = k.Input((4,), name="x")
    x = nn.Dense(4, activation=doubled)(inputs)
    x = nn.Lambda(lambda t: t + 1)(Scale(name="scale")(x))
    return seeded(k.Model(inputs, Block()(x), name="custom"))


def half():
    """A model in mixed precision, in a process whose own policy is another by the time of the copy."""
    policy = k.config.dtype_policy()
    k.config.set_dtype_policy("mixed_float16")
    try:
        return seeded(k.Sequential([k.Input((4,), name="x"), nn.Dense(3), nn.Dense(2, dtype="float64")]))
    finally:
        k.config.set_dtype_policy(policy)


MODELS = {**BUILDERS, "custom": custom, "half": half}


def outputs(model):
    return KerasRunner(model)(batch_for(model))


@pytest.mark.parametrize("name", MODELS)
def test_copy_gives_equal_outputs_and_is_independent(name):
    model = MODELS[name]()
    copied = copy(model)
    assert fingerprint(copied) == fingerprint(model)
    for a, b in zip(outputs(model), outputs(copied), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not {id(v) for v in copied.weights} & {id(v) for v in model.weights}
    assert not {id(layer) for layer in copied._flatten_layers()} & {id(layer) for layer in model._flatten_layers()}
    before = fingerprint(model)
    for variable in copied.weights:
        variable.assign(variable + 1 if "float" in variable.dtype else variable)
    assert fingerprint(model) == before != fingerprint(copied)


@pytest.mark.parametrize("name", MODELS)
def test_copy_keeps_every_name(name):
    model = MODELS[name]()
    copied = copy(copy(model))
    assert copied.name == model.name
    assert [(n.name, type(n.layer), n.layer.dtype_policy.name) for n in nodes(copied)] == [
        (n.name, type(n.layer), n.layer.dtype_policy.name) for n in nodes(model)
    ]
    assert signature(copied).inputs == signature(model).inputs
    assert signature(copied).outputs == signature(model).outputs


def test_layers_that_are_shared_stay_shared():
    copied = copy(two_in_two_out())
    assert len(copied.get_layer("shared")._inbound_nodes) == 2
    assert len(copied.weights) == len(two_in_two_out().weights)


def test_copy_keeps_the_compile_state_and_what_is_frozen():
    model = dense()
    model.compile(k.optimizers.SGD(0.25), "mse", metrics=["mae"])
    model.layers[0].trainable = False
    copied = copy(model)
    assert copied.compiled
    assert copied.optimizer is not model.optimizer
    assert copied.optimizer.get_config() == model.optimizer.get_config()
    assert copied.loss == "mse"
    assert [layer.trainable for layer in copied.layers] == [False, True]
    copied.fit(np.ones((4, 8)), np.ones((4, 3)), verbose=0)
    assert model.optimizer.iterations.numpy() == 0


def test_copy_keeps_a_loss_and_a_metric_that_are_not_of_keras():
    model = dense()
    model.compile("sgd", squared, metrics=[distance])
    copied = copy(model)
    assert copied.loss is squared
    assert set(copied.evaluate(np.ones((4, 8)), np.ones((4, 3)), verbose=0, return_dict=True)) == {"loss", "distance"}


def test_a_fingerprint_tells_weights_names_and_settings_apart():
    prints = {fingerprint(dense())}
    changed = dense()
    changed.weights[0].assign(changed.weights[0] * -1)
    renamed = dense()
    renamed.layers[0].name = "another"
    frozen = dense()
    frozen.layers[0].trainable = False
    compiled = dense()
    compiled.compile("sgd", "mse")
    activated = dense()
    activated.layers[0].activation = k.activations.tanh
    prints |= {fingerprint(model) for model in (changed, renamed, frozen, compiled, activated)}
    assert len(prints) == 6


@pytest.mark.slow
def test_a_fingerprint_is_the_same_in_another_process():
    """A run that was killed finds its entry again; shared objects are numbered by their address in memory."""
    assert other_process.call("jax", of_residual) == of_residual()


def of_residual():
    return fingerprint(residual())


def test_shared_objects_are_numbered_in_order():
    config = {"a": {"shared_object_id": 99}, "b": [{"shared_object_id": 7}, {"shared_object_id": 99}], "c": (1, "x")}
    expected = {"a": {"shared_object_id": 0}, "b": [{"shared_object_id": 1}, {"shared_object_id": 0}], "c": (1, "x")}
    assert renumber_shared(config) == expected


def test_assigned_values_take_the_variable_s_type():
    model = half()
    variable = model.layers[1].kernel
    assign([(variable, np.full((3, 2), 0.1, np.float32))])
    assert variable.dtype == "float64"
    np.testing.assert_array_equal(variable.numpy(), np.float64(np.float32(0.1)))


def twice():
    """A layer and a model that are each called twice, the layer within a model."""
    inner = k.Sequential([k.Input((4,)), nn.Dense(4, name="d"), nn.BatchNormalization(name="bn")], name="inner")
    x = k.Input((4,), name="x")
    return seeded(k.Model(x, inner(inner(x)), name="twice"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_edits_is_a_copy(name):
    model = MODELS[name]()
    assert fingerprint(edited(model, {}, {})) == fingerprint(model)


def test_a_layer_is_replaced_wherever_it_is_called_and_all_else_is_copied():
    model = twice()
    kernel = np.eye(4, dtype=np.float32)
    new = nn.Dense(4, use_bias=False, name="another")
    copied = edited(model, {"inner/d": new, "inner/bn": nn.Identity()}, {"inner/d/kernel": kernel})
    assert (
        [node.name for node in nodes(copied)]
        == [node.name for node in nodes(model)]
        == [
            "x",
            "inner",
            "inner/d",
            "inner/bn",
        ]
    )
    assert [node.qualified(w) for node in nodes(copied) for w in node.weights] == ["inner/d/kernel"]
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(copied(x), x)
    assert len(model.weights) == 6
    np.testing.assert_array_equal(
        edited(model, {"inner/bn": nn.Identity()}, {}).weights[0].numpy(), model.weights[0].numpy()
    )


def test_arguments_that_a_new_layer_does_not_take_are_dropped():
    x = k.Input((4,), name="x")
    model = k.Model(x, nn.BatchNormalization(name="bn")(x, training=False))
    assert edited(model, {"bn": nn.Identity()}, {}).weights == []


def test_edits_keep_the_compile_state_and_policies():
    model = dense()
    model.compile(k.optimizers.SGD(0.25), "mse")
    copied = edited(model, {"head": nn.Dense(3)}, {})
    assert copied.loss == "mse"
    assert copied.optimizer.get_config() == model.optimizer.get_config()
    mixed = half()
    first = mixed.layers[0].name
    policies = [layer.dtype_policy.name for layer in edited(mixed, {first: nn.Dense(3)}, {})._flatten_layers()]
    assert policies == [layer.dtype_policy.name for layer in mixed._flatten_layers()]


@pytest.mark.parametrize("edits", [({"none": None}, {}), ({}, {"inner/d/none": np.ones(4)})])
def test_an_edit_of_what_is_not_there_is_an_error(edits):
    with pytest.raises(KeyError, match="none"):
        edited(twice(), *edits)


def test_a_layer_inside_a_wrapper_can_not_be_replaced():
    model = k.Sequential([k.Input((3, 4)), nn.TimeDistributed(nn.Dense(2, name="d"), name="each")])
    with pytest.raises(KeyError, match="each/d"):
        edited(model, {"each/d": nn.Dense(2)}, {})
