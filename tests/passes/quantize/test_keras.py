"""Keras's own modes: what they quantize opens in stock Keras with the same outputs, and what they leave is named.

Covers: model/keras_quantization.py.
"""

import zipfile
from functools import cache
from itertools import product

import h5py
import numpy as np
import pytest

from kcompress import data
from kcompress.errors import UsageError
from kcompress.formats import WriteOptions, formats
from kcompress.formats.keras.format import WEIGHTS
from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.cost import macs
from kcompress.model.observe import run
from kcompress.model.rebuild import copy, edited, fingerprint
from kcompress.model.view import nodes, nonzero, parameters
from kcompress.passes import find, names
from kcompress.passes.base import Context, Need
from kcompress.passes.capabilities import TrainsModel
from kcompress.quantization.plan import QuantPlan
from kcompress.run.resume import Resume
from tests.models import batch_for, dense, keras, residual, seeded
from tests.passes.models import KERNELS, Projection, convolutional, everything
from tests.shell import assert_refused, kcompress
from tests.sweep import some

STEP = find("quantize.keras")
MODES = ("int8", "int4", "float8", "gptq", "awq")
QUANTIZED = {
    "int8": {"einsum", "embedding", "nested/dense", "head"},
    "int4": {"einsum", "embedding", "nested/dense", "head"},
    "float8": {"einsum", "nested/dense", "head"},
    "gptq": {"einsum", "nested/dense", "head"},
    "awq": {"einsum", "nested/dense", "head"},
}
BLOCKS = [*((mode, 128) for mode in MODES), ("int4", 16), ("int4", -1)]
"""Modes and block sizes."""
STAND = [("int8", 128), ("int4", 16), ("gptq", 128)]
every_mode = pytest.mark.parametrize("mode", MODES)


@cache
def made_of(build, mode):
    """A model and what the pass makes of it; neither is changed by other passes."""
    model = build()
    return model, STEP(mode=mode).apply(model, context(model))


def samples(model, seed=0):
    x = batch_for(model, count=16, seed=seed)
    return {name: values % 12 if name == "tokens" else values for name, values in x.items()}


def context(model, seed=0, **fields):
    x = samples(model, seed)
    return Context(data=data.resolve(calibration=x if len(x) > 1 else next(iter(x.values()))), **fields)


def outputs(model, x):
    return KerasRunner(model)(x)[0]


@pytest.fixture(scope="module")
def whole():
    return everything()


@pytest.fixture(scope="module")
def float_outputs(whole):
    return outputs(whole, samples(whole))


@pytest.fixture(scope="module", params=some(BLOCKS, lambda case: case in STAND), ids=str)
def made(request, whole):
    mode, block_size = request.param
    return mode, STEP(mode=mode, block_size=block_size).apply(whole, context(whole))


def test_every_layer_with_kernels_is_quantized_or_named_and_stays_as_it_was(made, whole):
    mode, result = made
    assert {change.layer for change in result.changes} == QUANTIZED[mode]
    assert {skip.layer for skip in result.skipped} == {*KERNELS, "custom"} - QUANTIZED[mode]
    reasons = {skip.layer: skip.reason for skip in result.skipped}
    assert reasons["conv2"] == f"stays float: Keras has no {mode} for Conv2D"
    assert "inside MultiHeadAttention" in reasons["attention/query"]
    assert reasons["custom"] == "a custom layer; Keras quantizes none but its own"
    before = {node.qualified(w): w.values for node in nodes(whole) for w in node.weights}
    for node in nodes(result.model):
        for weight in node.weights if node.name not in QUANTIZED[mode] else ():
            np.testing.assert_array_equal(weight.values, before[node.qualified(weight)])


def test_the_file_opens_in_stock_keras_with_the_same_outputs(made, whole, float_outputs, tmp_path):
    mode, result = made
    path = tmp_path / "o.keras"
    formats()["keras"].write(result.model, QuantPlan(), path, WriteOptions())
    read, x = keras().saving.load_model(path, custom_objects={"Projection": Projection}), samples(whole)
    ours = outputs(result.model, x)
    for again in (read, copy(read)) if mode == "int4" else (read,):
        np.testing.assert_array_equal(outputs(again, x), ours)
    assert np.abs(ours - float_outputs).max() < 0.2  # probabilities; 4 bits of a random model
    with zipfile.ZipFile(path) as archive, archive.open(WEIGHTS) as member, h5py.File(member) as file:
        kinds = set()
        file.visititems(lambda _, item: kinds.add(item.dtype.kind) if isinstance(item, h5py.Dataset) else None)
        head = file["layers/dense/vars"]
        stored = [np.array(head[key]) for key in head]
    integers = [values for values in stored if values.dtype.kind in "iu" and values.size > 3]
    assert bool(integers) == (mode != "float8")
    inputs = whole.get_layer("head").kernel.shape[0]
    if integers:
        assert max(values.size for values in integers) == inputs * (3 if mode == "int8" else 2)


def test_parameters_nonzeros_and_multiply_adds_are_those_of_the_float_model(made, whole, tmp_path):
    mode, result = made
    assert parameters(result.model) == parameters(whole)
    assert macs(result.model) == macs(whole)
    assert 0.9 * nonzero(whole) < nonzero(result.model) <= nonzero(whole)
    path = tmp_path / "o.keras"
    if mode != "gptq":
        return
    formats()["keras"].write(result.model, QuantPlan(), path, WriteOptions())
    with keras().saving.CustomObjectScope({"Projection": Projection}):
        rows = {row.name: row for row in formats()["keras"].describe(path, ["tests.passes.models"]).rows}
    assert rows["head"].parameters == whole.get_layer("head").count_params()


@pytest.mark.parametrize(
    ("after", "mode"),
    some(
        product([name for name in names() if name != "quantize.keras"], MODES),
        lambda case: case[1] == "int8" or case[0] in ("prune.magnitude", "quantize.weights"),
    ),
)
def test_other_passes_work_on_what_it_made(after, mode):
    if issubclass(find(after), TrainsModel) and mode != "int8":
        pytest.skip("such layers are not trained, whatever their mode")
    model, result = made_of(residual, mode)
    x = next(iter(samples(model).values()))
    both = data.resolve((x, np.arange(len(x)) % model.outputs[0].shape[-1]))
    later = find(after)().apply(result.model, Context(data=both))
    reasons = {skip.layer: skip.reason for skip in later.skipped}
    if after in ("prune.magnitude", "quantize.weights", "quantize.float16", "quantize.int8") and mode != "float8":
        assert "is stored as " in reasons["head"]
    x = batch_for(model)
    assert np.isfinite(outputs(later.model, x)).all()


@every_mode
def test_a_copy_of_what_it_made_is_the_same(mode):
    model, result = made_of(dense, mode)
    x = batch_for(model)
    for again in (copy(result.model), edited(result.model, {}, {})):
        np.testing.assert_array_equal(outputs(again, x), outputs(result.model, x))


@every_mode
def test_what_keras_quantized_already_is_declined(mode):
    model, first = made_of(dense, mode)
    second = STEP(mode="int8").apply(first.model, context(model))
    assert not second.changes
    assert {skip.layer for skip in second.skipped} == {"hidden", "head"}


@pytest.mark.parametrize("mode", ["int8", "int4", "awq"])
@pytest.mark.parametrize("block_size", [128, -1])
def test_zeros_stay_zero(mode, block_size):
    pruned = find("prune.magnitude")(sparsity=0.5).apply(dense(), Context()).model
    result = STEP(mode=mode, block_size=block_size).apply(pruned, context(pruned))
    assert len(result.changes) == 2
    assert nonzero(result.model) <= nonzero(pruned)
    one = seeded(keras().Sequential([keras().Input((8,), name="x"), keras().layers.Dense(1, name="one")]))
    pruned = find("prune.magnitude")(sparsity=0.5).apply(one, Context()).model
    assert STEP(mode=mode, block_size=block_size).apply(pruned, context(pruned)).changes


def test_gptq_declines_a_kernel_with_zeros_which_it_would_fill():
    pruned = find("prune.magnitude")(sparsity=0.5).apply(dense(), Context()).model
    result = STEP(mode="gptq").apply(pruned, context(pruned))
    assert {skip.reason for skip in result.skipped} == {"has zeros, which gptq would fill; int4 keeps them"}


def test_a_kernel_on_a_grid_is_declined():
    model = convolutional()
    first = find("quantize.weights")(bits=8).apply(model, Context())
    result = STEP().apply(first.model, context(model, plan=QuantPlan(first.formats)))
    assert {skip.layer: skip.reason for skip in result.skipped}["head"] == "its kernels lie on a grid already"


def integers(model):
    return np.concatenate([np.asarray(v).ravel() for v in model.weights if v.dtype == "uint8"])


@pytest.mark.parametrize("mode", ["gptq", "awq"])
def test_calibration_data_decide_the_integers_and_the_same_data_give_the_same(mode):
    model = dense()
    found = []
    for scale in (1.0, 1.0, np.geomspace(0.01, 100, 8)):  # which inputs matter
        x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32) * scale
        ctx = Context(data=data.resolve(calibration=x.astype(np.float32)))
        found.append(integers(STEP(mode=mode).apply(model, ctx).model))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_gptq_is_closer_to_the_float_model_than_rounding_to_nearest():
    k = keras()
    model = seeded(k.Sequential([k.Input((64,), name="x"), k.layers.Dense(32, name="d")]))
    random = np.random.default_rng(0)
    x = (random.normal(size=(256, 8)) @ random.normal(size=(8, 64))).astype(np.float32)  # correlated inputs
    ctx = Context(data=data.resolve(calibration=x))
    wanted = outputs(model, {"x": x})
    near, fitted = (outputs(STEP(mode=m, samples=256).apply(model, ctx).model, {"x": x}) for m in ("int4", "gptq"))
    assert ((fitted - wanted) ** 2).mean() < 0.5 * ((near - wanted) ** 2).mean()


def test_rules_give_layers_modes_of_their_own():
    model = dense()
    step = STEP(mode="int4", rules=[{"layers": "head", "mode": "int8"}])
    result = step.apply(model, Context())
    modes = {node.name: node.layer.quantization_mode for node in nodes(result.model)}
    assert modes == {"hidden": "int4", "head": "int8"}


def test_only_gptq_and_awq_need_calibration_data():
    assert {mode for mode in MODES if STEP(mode=mode).required == {Need.CALIBRATION}} == {"gptq", "awq"}
    assert STEP(rules=[{"layers": "head", "mode": "awq"}]).required == {Need.CALIBRATION}


@every_mode
def test_a_run_goes_on_from_what_was_kept(mode, cache):
    model, result = made_of(dense, mode)
    kept = Resume(["x"], [STEP(mode=mode)])
    kept.keep(1, result.model, QuantPlan(), [])
    done, found, _, _ = kept.find()
    assert done == 1
    x = batch_for(model)
    np.testing.assert_array_equal(outputs(found, x), outputs(result.model, x))
    assert fingerprint(copy(found)) == fingerprint(found)


def test_it_does_not_touch_the_given_model_or_standard_output(capsys):
    model = dense()
    before = fingerprint(model)
    STEP(mode="gptq").apply(model, context(model))
    assert fingerprint(model) == before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("fields", "words"), [({"mode": "int5"}, "mode=int5 is not one of int8"), ({"block_size": 0}, "block_size=0")]
)
def test_settings_that_cannot_be_are_refused(fields, words):
    with pytest.raises(UsageError, match=words):
        STEP(**fields)


def test_from_the_shell_the_file_shrinks(tmp_path, fixtures):
    output = tmp_path / "o.keras"
    done = kcompress("compress", fixtures / "lenet300.keras", output, "--apply", "quantize.keras:mode=int4", "--quiet")
    assert done.returncode == 0, done.stderr
    assert output.stat().st_size < (fixtures / "lenet300.keras").stat().st_size / 6
    assert keras().saving.load_model(output).get_layer("head").quantization_mode == "int4"


@pytest.mark.parametrize(
    ("output", "apply", "words"),
    [
        ("o.tflite", "quantize.keras", ("quantize.keras: .tflite files do not hold", ".keras")),
        ("o.keras", "quantize.keras:mode=gptq", ("quantize.keras: needs calibration data", "--calibration")),
    ],
)
def test_what_cannot_be_done_is_refused_before_work_starts(output, apply, words, tmp_path, fixtures):
    done = kcompress("compress", fixtures / "lenet300.keras", tmp_path / output, "--apply", apply)
    assert_refused(done, 2, *words)
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_layer_that_keras_quantizes_names_every_layer(tmp_path):
    k = keras()
    layers = [k.Input((8, 8, 3), name="image"), k.layers.Conv2D(4, 3, name="a"), k.layers.Conv2D(4, 3, name="b")]
    result = STEP().apply(seeded(k.Sequential(layers)), Context())
    assert not result.changes
    assert [skip.layer for skip in result.skipped] == ["a", "b"]


@pytest.mark.parametrize("mode", ["gptq", "awq"])
def test_a_group_of_weights_that_are_all_positive_is_declined(mode):
    model = dense()
    kernel = model.layers[1].kernel
    kernel.assign(np.abs(np.asarray(kernel)) * 0.1 + 0.05)
    result = STEP(mode=mode).apply(model, context(model))
    assert [change.layer for change in result.changes] == ["hidden"]
    assert result.skipped[0].reason == f"stays float: Keras's {mode} gets groups of weights that are all positive wrong"


@pytest.mark.parametrize("mode", ["gptq", "awq"])
def test_calibration_runs_the_model_once_however_many_layers_there_are(mode, monkeypatch):
    k = keras()
    model = seeded(k.Sequential([k.Input((8,), name="x"), *(k.layers.Dense(8) for _ in range(5))]))
    runs = []
    monkeypatch.setattr("kcompress.passes.quantize.keras.run", lambda *args: runs.append(run(*args)))
    assert len(STEP(mode=mode, block_size=-1).apply(model, context(model)).changes) == 5
    assert len(runs) == 1


def test_layers_that_compute_in_half_precision_are_declined():
    k = keras()
    model = seeded(k.Sequential([k.Input((8,)), k.layers.Dense(4, dtype="mixed_float16", name="d")]))
    result = STEP().apply(model, Context())
    assert result.skipped[0].reason == "computes in float16; Keras quantizes layers that compute in float32"
