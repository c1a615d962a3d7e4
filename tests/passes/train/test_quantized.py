"""Training through what earlier passes quantized.

Covers: passes/train/_fake_quantized.py, quantization/readers.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from kcompress import (
    FoldBatchNorm,
    PruneMagnitude,
    QuantizeBinary,
    QuantizeInt8,
    QuantizeWeights,
    TrainDistill,
    TrainFinetune,
    data,
)
from kcompress.codec import decode, plain
from kcompress.formats import WriteOptions, formats
from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.view import nodes
from kcompress.numerics import affine
from kcompress.passes.base import Context
from kcompress.passes.statistics import batches
from kcompress.quantization.fake_quantized import fake_quantized_model, fixed_limits, ranges
from kcompress.quantization.plan import Activations, QuantPlan
from tests.passes.train.problems import accuracy, context, convolutional, spots


@pytest.fixture(scope="module")
def trained():
    return TrainFinetune(epochs=8, learning_rate=0.01).apply(convolutional(normalized=False), context()).model


def onwards(model, first, target="keras", **fields):
    """Quantize, then train; the plan after both."""
    begun = first.apply(model, context(target=target))
    plan = QuantPlan().updated(begun.formats, begun.activations)
    ctx = context(plan=plan)
    result = TrainFinetune(**{"epochs": 4, "learning_rate": 0.003, **fields}).apply(begun.model, ctx)
    return begun, result, plan.updated(result.formats, result.activations)


def loss(model):
    x, y = spots()
    return float(-np.log(np.asarray(model(x))[np.arange(len(y)), y] + 1e-7).mean())


def levels_of(result, plan):
    for node in nodes(result.model):
        for weight in node.kernels:
            if weight_format := plan.weights.get(node.qualified(weight)):
                yield weight_format, weight.values


@pytest.mark.parametrize("bits", [2, 4])
def test_weights_end_on_grids_whose_steps_were_learned(trained, bits):
    begun, result, plan = onwards(trained, QuantizeWeights(bits=bits), target="tflite")
    assert loss(result.model) < loss(begun.model)
    assert all(weight_format.holds(values) for weight_format, values in levels_of(result, plan))
    moved = [plan.weights[name].scale != begun.formats[name].scale for name in begun.formats]
    assert all(moved)


@pytest.mark.parametrize(("scale", "digits"), [("float", affine.SHORT), ("power_of_two", affine.POWER_OF_TWO)])
def test_scales_stay_of_as_few_digits_as_they_were(trained, scale, digits):
    _, result, plan = onwards(trained, QuantizeWeights(bits=4, scale=scale))
    for weight_format, values in levels_of(result, plan):
        assert affine.digits(np.asarray(weight_format.scale)) <= digits
        assert weight_format.holds(values)


def test_two_bits_are_worth_training(trained):
    begun, result, _ = onwards(trained, QuantizeWeights(bits=2), epochs=8)
    assert loss(result.model) < loss(begun.model) / 3
    assert accuracy(result.model) > 0.9


@pytest.mark.parametrize("levels", [2, 3])
def test_binary_and_ternary_weights_change_their_values(trained, levels):
    begun, result, plan = onwards(trained, QuantizeBinary(levels=levels, edges=True), epochs=8, learning_rate=0.01)
    assert loss(result.model) < loss(begun.model)
    for weight_format, values in levels_of(result, plan):
        assert weight_format.holds(values)
        assert len(np.unique(weight_format.levels(values))) == levels
    kernel = begun.model.get_layer("conv2").kernel, result.model.get_layer("conv2").kernel
    assert (np.sign(kernel[0]) != np.sign(kernel[1])).any()


def test_zeros_of_pruning_stay_and_those_of_rounding_need_not(trained):
    pruned = PruneMagnitude(sparsity=0.6, layers="conv2").apply(trained, context()).model
    begun, result, plan = onwards(pruned, QuantizeWeights(bits=3), epochs=8, learning_rate=0.01)
    assert plan.weights["conv2/kernel"].sparse
    assert not plan.weights["hidden/kernel"].sparse

    def back(layer):
        return (np.asarray(begun.model.get_layer(layer).kernel) == 0) & (
            np.asarray(result.model.get_layer(layer).kernel) != 0
        )

    assert not back("conv2").any()
    assert back("hidden").any()


def integer_outputs(model, plan):
    """What the model gives as a file of integers would, by ranges learned where there are some."""
    asked, data = plan.activations, context().data.calibration
    fixed = fixed_limits(model)
    seen = ranges(model, batches(model, data, asked.samples))
    limits = {name: asked.range_of(found) for name, found in seen.items() if name not in fixed}
    with fake_quantized_model(model, plan, {**limits, **fixed}):
        return np.asarray(model(spots()[0][4::5]))


def test_the_file_of_integers_agrees_with_the_fake_quantized_model_that_was_trained(trained, tmp_path):
    _, result, plan = onwards(trained, QuantizeInt8(samples=64))
    assert result.activations is not None
    assert result.activations.learned
    expected = integer_outputs(result.model, plan)
    x = {"image": spots()[0][4::5]}
    options = WriteOptions(calibration=context().data.calibration.fit_to({"image": (None, 12, 12, 1)}))
    for suffix in ("tflite", "onnx"):
        file_format = formats()[suffix]
        file_format.write(result.model, plan, tmp_path / f"m.{suffix}", options)
        given = file_format.open(tmp_path / f"m.{suffix}")(x)[0]
        assert np.abs(given - expected).max() < 0.02, suffix  # 5 steps of 1/256, for a step more or less on the way
    plain = KerasRunner(result.model)(x)[0]
    assert np.abs(plain - expected).max() > 0.002


def test_ranges_are_learned_of_inputs_too_whatever_type_the_data_has(trained):
    images = (spots()[0] * 20 + 100).clip(0, 255).astype(np.uint8)
    both = Context(data=data.resolve((images, spots()[1])))
    step = QuantizeInt8(samples=64)
    begun = step.apply(trained, both)
    plan = QuantPlan().updated(begun.formats, begun.activations)
    result = TrainFinetune(steps=12, learning_rate=0.01).apply(begun.model, replace(both, plan=plan))
    (entry,) = [entry for entry in result.activations.learned if entry.seen_low > 1]  # of images, whose least is not 0
    assert entry.seen_high <= images.max()
    assert entry.high != entry.seen_high


def test_what_is_pruned_after_it_was_quantized_stays_zero_through_later_trainings(trained):
    begun = QuantizeWeights(bits=4).apply(trained, context())
    plan = QuantPlan(begun.formats)
    pruning = PruneMagnitude(sparsity=0.6, schedule="polynomial")
    first = TrainFinetune(epochs=2).apply(begun.model, context(plan=plan, pruning=pruning))
    plan = plan.updated(first.formats)
    assert all(weight_format.sparse for weight_format in plan.weights.values())
    again = TrainFinetune(epochs=2, learning_rate=0.01).apply(first.model, context(plan=plan))
    for layer in ("conv1", "conv2", "hidden", "head"):
        was, now = (np.asarray(each.model.get_layer(layer).kernel) == 0 for each in (first, again))
        assert was.mean() >= 0.59
        assert now[was].all()


def test_learned_ranges_are_told_by_the_values_that_they_are_for():
    from kcompress.numerics.ranges import Range
    from kcompress.quantization.plan import LearnedRange

    seen = Range(detailed=False)
    seen.add(np.array([0.0, 1.0, 5.0]))
    learned = LearnedRange(0.0, 5.0, 2.0, 0.0, 3.5)
    assert Activations("static", learned=(learned,)).range_of(seen) == (0.0, 3.5)
    seen.add(np.array([5.0]))  # another mean
    assert Activations("static", learned=(learned,)).range_of(seen) == (0.0, 5.0)
    plan = QuantPlan({}, Activations("static", learned=(learned,)))
    assert decode(QuantPlan, plain(plan)) == plan


@pytest.mark.parametrize("last", ["head", "shaped"])
def test_a_loss_sees_probabilities_before_they_are_rounded(trained, last):
    import keras

    model = trained
    if last == "shaped":  # an operator that only passes on what the head makes
        model = keras.Model(model.inputs, keras.layers.Reshape((4,), name="shaped")(model.outputs[0]))
    taught = {}
    for name, first in (("float", FoldBatchNorm()), ("int8", QuantizeInt8(samples=64))):
        begun = first.apply(model, context(teacher=trained))
        ctx = context(teacher=trained, plan=QuantPlan().updated(begun.formats, begun.activations))
        step = TrainDistill(steps=8, learning_rate=1e-6, alpha=1.0)
        taught[name] = step.apply(begun.model, ctx).history[0]["loss"]
    assert taught["float"] < taught["int8"] < 0.02
