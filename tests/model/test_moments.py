"""Moments against those of the layers' own inputs, and the change of outputs that they foretell."""

import numpy as np
import pytest

from kcompress.model.matrices import from_matrix, to_matrix
from kcompress.model.moments import moments
from kcompress.model.view import nodes
from kcompress.numerics.rounding import error, nearest
from tests import other_process
from tests.models import BUILDERS, batch_for, keras, residual, two_in_two_out
from tests.passes.models import KERNELS, everything
from tests.sweep import ALL, some

k = keras()
nn = k.layers


def test_a_shared_layer_gets_the_moment_of_all_its_calls():
    model = two_in_two_out()
    batches = [batch_for(model, 5, seed=1), batch_for(model, 3, seed=2)]
    found = moments(model, batches, ["shared"])["shared/kernel"]
    x = np.concatenate([batch[name] for batch in batches for name in ("left", "right")])
    assert found.rows == 16
    np.testing.assert_allclose(found.second[0], x.T @ x / 16, rtol=1e-5)
    np.testing.assert_allclose(found.mean[0], x.mean(0), rtol=1e-5)


@pytest.mark.parametrize("name", ["stem", "grouped", "transposed", "depthwise", "head"])
def test_the_moment_foretells_how_much_rounding_changes_a_layers_outputs(name):
    model = residual()
    batch = batch_for(model)
    layer = next(n.layer for n in nodes(model) if n.name == name)
    if name == "head":
        layer.activation = k.activations.linear
    found = moments(model, [batch], [name])[f"{name}/kernel"]
    part = k.Model(model.inputs[0], layer.output)
    before = k.ops.convert_to_numpy(part(batch["image"]))
    matrix = to_matrix(np.asarray(layer.kernel), layer)
    ints = nearest(matrix / 0.2, -3, 3)
    foretold = error(matrix / 0.2, ints, found.second, 0.2).ravel()
    layer.kernel.assign(from_matrix(ints * np.float32(0.2), layer))
    changed = ((k.ops.convert_to_numpy(part(batch["image"])) - before) ** 2).reshape(-1, before.shape[-1]).mean(0)
    np.testing.assert_allclose(foretold, changed, rtol=1e-3)  # float32 sums


def test_drawn_positions_stand_for_all_and_a_seed_repeats_them():
    model = residual()
    batches = [batch_for(model, 40, seed=1), batch_for(model, 8, seed=2)]
    whole = moments(model, batches, ["stem"])["stem/kernel"]
    few, again, other = (moments(model, batches, ["stem"], draw=800, seed=s)["stem/kernel"] for s in (0, 0, 1))
    assert few.rows == whole.rows == 48 * 144
    np.testing.assert_array_equal(few.second, again.second)
    assert (few.second != other.second).any()
    np.testing.assert_allclose(few.second, whole.second, atol=0.04)  # of about 0.25 to 0.33
    np.testing.assert_allclose(few.mean, whole.mean, atol=0.04)
    assert np.abs(few.second - whole.second).max() > 1e-4


def test_every_kernel_is_listed_and_those_without_a_matrix_have_none():
    model = everything()
    batch = batch_for(model, 2)
    found = moments(model, [{**batch, "tokens": batch["tokens"] % 12}])
    assert set(found) == {f"{name}/{weight}" for name, weights in KERNELS.items() for weight in weights}
    missing = {name for name, moment in found.items() if moment is None}
    assert missing == {name for name in found if "_cell/" in name or name.startswith("embedding/")}
    for name, moment in found.items():
        if moment is not None:
            node = next(n for n in nodes(model) if name.startswith(f"{n.name}/") and n.kernels)
            weight = next(w for w in node.kernels if node.qualified(w) == name)
            groups, inputs, _ = to_matrix(weight.values, node.layer, weight.name).shape
            assert moment.second.shape == (groups, inputs, inputs), name
            assert moment.mean.shape == (groups, inputs), name
            assert moment.second.dtype == moment.mean.dtype == np.float32


def test_too_wide_a_kernel_and_a_layer_that_never_ran_have_none():
    model = two_in_two_out()
    found = moments(model, [batch_for(model)], widest=5)
    assert {name for name, moment in found.items() if moment is None} == {
        *("inner/shared/kernel", "score/kernel", "kind/kernel")
    }
    assert found["shared/kernel"] is not None
    assert set(moments(model, []).values()) == {None}


def test_an_input_of_whole_numbers_is_summed_in_floats():
    inputs = k.Input((3,), dtype="uint8", name="x")
    model = k.Model(inputs, nn.Dense(2, name="head")(inputs))
    x = np.full((4, 3), 200, np.uint8)
    found = moments(model, [{"x": x}])["head/kernel"]
    np.testing.assert_allclose(found.second, 40000.0)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_model_keeps_its_weights(name):
    model = BUILDERS[name]()
    before = [np.array(v) for v in model.weights]
    moments(model, [batch_for(model)])
    for one, two in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(one, np.asarray(two))


def summary():
    """Sums of every moment of some small models, as JSON gives them back."""
    found = {}
    for build in some(BUILDERS.values(), lambda build: build.__name__ == "residual"):
        model = build()
        for name, moment in moments(model, [batch_for(model)], draw=50).items():
            sums = None if moment is None else [moment.rows, float(moment.second.sum()), float(moment.mean.sum())]
            found[f"{model.name}/{name}"] = sums
    return found


@pytest.mark.slow
def test_jax_gives_the_same_moments():
    pytest.importorskip("jax")
    theirs, ours = other_process.call("jax", summary), summary()
    assert not ALL or theirs["recurrent/both/forward_lstm/lstm_cell/kernel"] is None
    assert theirs.keys() == ours.keys()
    for name, sums in ours.items():
        assert (sums is None) == (theirs[name] is None), name
        if sums is not None:
            np.testing.assert_allclose(theirs[name], sums, rtol=1e-3, err_msg=name)  # float32 activations
