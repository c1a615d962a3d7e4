"""A model in stages: where it is cut, and what goes from one to the next."""

import numpy as np
import pytest

from kcompress.model.flow import flow
from kcompress.model.signature import signature
from kcompress.model.stages import find_starts, independent, single_stage, stages
from kcompress.model.view import nodes
from tests.models import batch_for, dense, keras, residual, two_in_two_out

k = keras()
nn = k.layers


def kernels(model):
    return {id(weight.variable) for node in nodes(model) for weight in node.kernels}


def computed(found, inputs, outputs, batch):
    values = dict(zip(inputs, map(k.ops.convert_to_tensor, batch.values()), strict=True))
    for stage in found:
        assert set(stage.inputs) <= values.keys()
        weights = [v.value for v in stage.variables]
        values.update(zip(stage.outputs, stage.run(weights, [values[n] for n in stage.inputs]), strict=True))
    return [np.asarray(values[n]) for n in outputs]


@pytest.mark.parametrize("build", [dense, residual, two_in_two_out])
def test_stages_cut_at_every_call_give_what_the_model_gives(build):
    model = build()
    graph, sign, batch = flow(model), signature(model), batch_for(model)
    found, one = stages(model, graph, range(1, len(graph.calls))), single_stage(model, sign)
    assert len(found) == len(graph.calls)
    got = computed(found, graph.inputs, graph.outputs, batch)
    want = computed([one], one.inputs, one.outputs, batch)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)  # the same operations on the same values
    assert independent(model, found) and independent(model, [one])


def test_stages_begin_with_layers_of_the_weights_where_the_fewest_values_cross():
    widths = (8, 20, 4, 30, 30, 3)
    layers = [nn.Dense(width, name=f"d{width}_{n}") for n, width in enumerate(widths)]
    model = k.Sequential([k.Input((5,)), *layers])
    graph = flow(model)

    def of(count, most=1000):
        return find_starts(graph, kernels(model), count, lambda n: graph.shapes[n][-1], most)

    assert of(9) == [1, 2, 3, 4, 5]
    assert of(3) == [3, 4], "4 values go into 3, 30 into both 4 and 5"
    assert of(1) == of(0) == []
    assert of(9, 8 + 20 + 4 + 30) == [1, 2, 3, 5]
    assert of(9, 3) == []
    assert find_starts(graph, (), 9, lambda n: 1, 1000) == []


def test_what_crosses_several_cuts_counts_once():
    x = k.Input((5,))
    y = nn.Dense(5, name="b")(nn.Dense(5, name="a")(x))
    model = k.Model(x, nn.Dense(5, name="c")(nn.Add()([x, y])))
    graph = flow(model)
    of = lambda most: find_starts(graph, kernels(model), 9, lambda n: 1, most)  # noqa: E731
    assert of(4) == [1, 3]  # the input and a's output, then the sum
    assert of(3) == [1, 3]
    assert of(2) == [3]


def test_no_variable_is_changed():
    layers = [nn.Dense(4), nn.BatchNormalization(), nn.Dropout(0.5), nn.Dense(3)]
    model = k.Sequential([k.Input((5,), name="x"), *layers])
    graph = flow(model)
    before = [np.asarray(v).copy() for v in model.variables]
    computed(stages(model, graph, [3]), graph.inputs, graph.outputs, batch_for(model))
    assert all((np.asarray(v) == w).all() for v, w in zip(model.variables, before, strict=True))
