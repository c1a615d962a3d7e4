"""The calls of a model are all there, in order, through nested and shared models, and agree with running it."""

import numpy as np
import pytest

from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.flow import flow, passes_on
from kcompress.model.view import nodes
from tests.models import BUILDERS, batch_for, keras, two_in_two_out

k = keras()
nn = k.layers


def labels(model):
    return [call.label for call in flow(model).calls]


def computed(model, batch):
    """The outputs of a model, by running its calls one by one on real values; for calls of one tensor or a list."""
    graph = flow(model)
    inputs = [batch[t._keras_history.operation.name] for t in model.inputs]
    values = dict(zip(graph.inputs, map(k.ops.convert_to_tensor, inputs), strict=True))
    for call in graph.calls:
        given = iter(values[i] for i in call.inputs)
        fill = lambda x, given=given: next(given) if isinstance(x, k.KerasTensor) else x  # noqa: E731
        args, kwargs = k.tree.map_structure(fill, (call.args, dict(call.kwargs)))
        outputs = k.tree.flatten(call.operation(*args, **kwargs))
        values.update(zip(call.outputs, outputs, strict=True))
    return [np.asarray(values[i]) for i in graph.outputs]


def nested():
    """A model in a model in a model, one of them called twice, with two inputs in another order than they are given."""
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    inner = k.Sequential([k.Input((4,)), nn.Dense(4, name="d"), nn.ReLU(name="r")], name="inner")
    outer = k.Model([a, b], nn.Subtract(name="minus")([inner(a), inner(b)]), name="outer")
    x, y = k.Input((4,), name="x"), k.Input((4,), name="y")
    return k.Model([x, y], outer([y, x]), name="whole")


@pytest.mark.parametrize("build", [*BUILDERS.values(), nested])
def test_running_the_calls_gives_what_the_model_gives(build):
    model = build()
    batch = batch_for(model)
    for got, want in zip(computed(model, batch), KerasRunner(model)(batch), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)  # the same operations on the same values


@pytest.mark.parametrize("name", BUILDERS)
def test_names_are_those_of_the_view_and_shapes_those_of_the_model(name):
    model = BUILDERS[name]()
    graph, known = flow(model), {id(n.layer): n.name for n in nodes(model)}
    assert all(call.name == known.get(id(call.operation)) for call in graph.calls)
    assert [graph.shapes[i] for i in graph.outputs] == [t.shape for t in model.outputs]
    assert [graph.shapes[i] for i in graph.inputs] == [t.shape for t in model.inputs]


def test_a_model_that_is_called_twice_has_its_calls_twice_on_tensors_of_their_own():
    model = nested()
    calls = flow(model).calls_of(nodes_by_name(model)["outer/inner/d"])
    assert [call.name for call in calls] == ["outer/inner/d"] * 2
    assert len({call.outputs for call in calls}) == len({call.inputs for call in calls}) == 2
    assert flow(model).calls_of(nodes_by_name(nested())["outer/inner/d"]) == ()


def nodes_by_name(model):
    return {node.name: node.layer for node in nodes(model)}


def test_inputs_in_another_order_reach_the_right_layers():
    graph = flow(nested())
    minus = graph.calls[-1]
    before = [graph.producers[graph.producers[i].inputs[0]].inputs[0] for i in minus.inputs]
    assert before == [graph.inputs[1], graph.inputs[0]]


def test_a_dict_reaches_the_inputs_of_a_model_that_takes_a_list_by_name():
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    inner = k.Model([b, a], nn.Subtract(name="minus")([nn.ReLU(name="of_b")(b), a]), name="inner")
    x, y = k.Input((4,), name="x"), k.Input((4,), name="y")
    graph = flow(k.Model([x, y], inner({"a": x, "b": y})))
    assert [call.label for call in graph.calls] == ["inner/of_b", "inner/minus"]
    assert graph.calls[0].inputs == (graph.inputs[1],)
    assert graph.calls[1].inputs == (graph.calls[0].outputs[0], graph.inputs[0])


def test_bare_operations_have_no_name_but_a_label():
    graph = flow(two_in_two_out())
    bare = [call for call in graph.calls if call.name is None]
    assert {call.kind for call in bare} == {"Multiply", "Add"}
    assert all(call.label for call in bare)


def test_producers_and_consumers_agree():
    graph = flow(two_in_two_out())
    for call in graph.calls:
        assert all(call in graph.consumers[i] for i in call.inputs)
        assert all(graph.producers[i] is call for i in call.outputs)
    assert not set(graph.inputs) & set(graph.producers)


class Own(k.Model):
    """A Functional model whose `call` is not the one of its graph."""

    def call(self, x, training=None):
        return super().call(x) * 2


def test_a_model_with_a_call_of_its_own_is_one_call():
    x = k.Input((4,), name="x")
    own = Own(x, nn.Dense(4, name="d")(x), name="own")
    y = k.Input((4,), name="y")
    assert labels(k.Model(y, own(y))) == ["own"]
    assert flow(own).calls == ()


def test_a_layer_in_a_wrapper_is_not_called_itself_and_a_wrapper_that_shares_one_is_seen():
    dense = nn.Dense(4, name="d")
    x = k.Input((5, 4), name="x")
    both = k.Model(x, nn.TimeDistributed(dense, name="each")(dense(x)))
    assert labels(both) == ["d", "each"]
    assert not flow(both).owns_its_weights(dense)
    alone = nn.Dense(4)
    assert flow(k.Model(x, alone(alone(x)))).owns_its_weights(alone)


@pytest.mark.parametrize("training", [True, False, None])
@pytest.mark.parametrize("where", ["call", "model"])
def test_the_mode_is_that_of_the_call_or_of_the_model_around_it(training, where):
    x = k.Input((4,), name="x")
    drop = nn.Dropout(0.5, name="drop")
    y = drop(x, training=training) if where == "call" else drop(x)
    inner = k.Model(x, y, name="inner")
    z = k.Input((4,), name="z")
    model = k.Model(z, inner(z, training=training) if where == "model" else inner(z))
    assert [bool(call.training) for call in flow(model).calls if call.name == "inner/drop"] == [bool(training)]


def test_what_hands_its_input_on():
    layers = [nn.Identity(), nn.Activation("linear"), nn.Activation("relu"), nn.Dropout(0.5)]
    graph = flow(k.Sequential([k.Input((4,)), *layers]))
    assert [passes_on(call) for call in graph.calls] == [True, True, False, True]
