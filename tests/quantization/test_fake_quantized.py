"""A fake-quantized model computes as the file does, trains through its quantizers, and leaves the model as it was."""

import numpy as np
import pytest

from kcompress import data
from kcompress.formats import WriteOptions, formats, run_batches
from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.rebuild import fingerprint
from kcompress.model.view import nodes
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.fake_quantized import (
    bake,
    fake_quantize,
    fake_quantized_model,
    fixed_limits,
    ranges,
    tapped,
)
from kcompress.quantization.plan import QuantPlan
from tests import other_process
from tests.conftest import FIXTURES
from tests.models import BUILDERS, batch_for, dense, keras, residual, seeded
from tests.sweep import some

k = keras()


def limits_of(model, batches):
    found = {name: (min(seen.low, 0.0), max(seen.high, 0.0)) for name, seen in ranges(model, batches).items()}
    return {**found, **fixed_limits(model)}


def public(layer):
    """Its attributes but what it keeps for itself, such as the mask of its last call."""
    return {name: id(value) for name, value in vars(layer).items() if not name.startswith("_")}


@pytest.mark.slow
@pytest.mark.parametrize("name", some(["resnet8", "mobilenet"], lambda name: name == "resnet8"))
def test_an_integer_file_chooses_as_its_fake_quantized_model_does(name, tmp_path):
    model = k.models.load_model(FIXTURES / f"{name}.keras")
    splits = data.resolve(FIXTURES / "fashion_mnist.npz").fit_to(KerasRunner(model).inputs)
    context = Context(data=splits)
    model = find("fold.batchnorm")().apply(model, context).model
    step = find("quantize.int8")(samples=256)
    result = step.apply(model, context)
    plan = QuantPlan(result.formats, result.activations)
    formats()["tflite"].write(result.model, plan, tmp_path / "m.tflite", WriteOptions(None, splits.calibration))
    limits = limits_of(result.model, (batch.x for batch in splits.calibration.batches(64, limit=256)))
    x = {name: np.concatenate([b.x[name] for b in splits.test.batches(500)]) for name in KerasRunner(model).inputs}
    with fake_quantized_model(result.model, plan, limits):
        fake_quantized = np.asarray(result.model(next(iter(x.values()))))
    (artifact,) = run_batches(formats()["tflite"].open(tmp_path / "m.tflite"), x)
    assert np.mean(fake_quantized.argmax(1) == artifact.argmax(1)) >= 0.995
    plain = np.asarray(result.model.predict(next(iter(x.values())), verbose=0))
    assert np.abs(fake_quantized - artifact).mean() < 0.7 * np.abs(plain - artifact).mean()


@pytest.mark.parametrize("name", BUILDERS)
def test_a_fake_quantized_model_is_close_to_the_model_and_gone_afterwards(name):
    model = BUILDERS[name]()
    x = batch_for(model, 64)
    before, state = fingerprint(model), [public(node.layer) for node in nodes(model)]
    plain = KerasRunner(model)(x)
    plan = QuantPlan(find("quantize.weights")(bits=8).apply(model, Context()).formats)
    with fake_quantized_model(model, plan, limits_of(model, [x])):
        fake_quantized = KerasRunner(model)(x)
    for one, other in zip(plain, fake_quantized, strict=True):
        assert 0 < np.abs(one - other).max() < 0.03 * np.abs(one).max()  # 8-bit steps of a few layers
    for one, other in zip(plain, KerasRunner(model)(x), strict=True):
        np.testing.assert_array_equal(one, other)
    assert fingerprint(model) == before
    for node, own in zip(nodes(model), state, strict=True):
        assert public(node.layer) == own


def test_values_are_not_rounded_between_what_a_converter_fuses():
    seen = []
    model = find("fold.batchnorm")().apply(residual(), Context()).model
    with tapped(model, lambda name, value: seen.append(name) or value):
        model(batch_for(model)["image"])
    assert seen[0] == "/input"
    assert "stem" not in seen and "stem_relu" in seen
    assert seen[-2:] == ["head/input", "head"]


@pytest.mark.parametrize(("bits", "levels"), [(8, 256), (4, 16)])
def test_rounded_values_lie_on_levels_of_which_zero_is_one(bits, levels):
    x = np.linspace(-2, 3, 5000, dtype=np.float32)
    y = np.asarray(fake_quantize(k.ops.convert_to_tensor(x), -1.0, 2.0, bits))
    assert len(np.unique(y)) == levels
    assert 0.0 in y
    inside = (x >= y.min()) & (x <= y.max())
    assert np.abs(x - y)[inside].max() <= 3.0 / (levels - 1) / 2 * 1.001


def test_training_goes_through_the_quantizers_and_bake_ends_on_the_grid():
    model = dense()
    k.utils.set_random_seed(0)  # of the order of samples
    result = find("quantize.weights")(bits=2).apply(model, Context())
    plan, fake_quantized = QuantPlan(result.formats), result.model
    x = batch_for(model, 256)
    y = KerasRunner(model)(x)[0]
    before = np.mean((KerasRunner(fake_quantized)(x)[0] - y) ** 2)
    with fake_quantized_model(fake_quantized, plan, limits_of(fake_quantized, [x])):
        fake_quantized.compile(k.optimizers.Adam(0.01), "mse")
        fake_quantized.fit(x["x"], y, epochs=12, verbose=0)
    bake(fake_quantized, plan)
    for node in nodes(fake_quantized):
        for weight in node.kernels:
            assert plan.weights[node.qualified(weight)].holds(weight.values)
    assert np.mean((KerasRunner(fake_quantized)(x)[0] - y) ** 2) < 0.5 * before


def test_training_works_on_jax_too():
    pytest.importorskip("jax")
    other_process.call("jax", test_training_goes_through_the_quantizers_and_bake_ends_on_the_grid)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_fake_quantized_model_computes_in_the_dtype_of_its_layers(policy):
    inputs = k.Input((6, 6, 3), name="image")
    model = seeded(k.Model(inputs, k.layers.Conv2D(4, 3, dtype=policy, name="conv")(inputs)))
    result = find("quantize.weights")(bits=4).apply(model, Context())
    x = batch_for(model, 8)["image"]
    with fake_quantized_model(result.model, QuantPlan(result.formats), {}):
        fake_quantized = result.model(x)
    assert str(k.backend.standardize_dtype(fake_quantized.dtype)) == policy.removeprefix("mixed_")
    np.testing.assert_allclose(
        np.asarray(fake_quantized, np.float32), np.asarray(result.model(x), np.float32), atol=0.02
    )


def test_nothing_is_rounded_inside_of_a_recurrent_layer():
    seen = set()
    model = BUILDERS["recurrent"]()
    with tapped(model, lambda name, value: seen.add(name) or value):
        model(batch_for(model)["series"])
    assert {"both", "gru"} <= seen
    assert not [name for name in seen if "cell" in name]


def test_a_shared_layer_is_rounded_where_one_of_its_calls_is_not_fused():
    inputs = k.Input((6,), name="x")
    shared = k.layers.Dense(4, name="shared")
    outputs = [k.layers.ReLU(name="relu")(shared(inputs)), shared(k.layers.Identity(name="same")(inputs))]
    model = seeded(k.Model(inputs, outputs))
    seen = []
    with tapped(model, lambda name, value: seen.append(name) or value):
        model(batch_for(model)["x"])
    assert seen.count("shared") == 2
