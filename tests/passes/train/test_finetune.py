"""A model is trained again and keeps its zeros, its grids and its frozen layers.

Covers: passes/train/_scopes.py, passes/train/_training.py, training/compiled.py, training/labelled.py,
training/learner.py, training/loop.py, training/masks.py, training/outcome.py, training/settings.py,
training/losses/target_loss.py.
"""

import numpy as np
import pytest

from kcompress import PruneMagnitude, QuantizeFloat16, TrainFinetune
from kcompress.data import resolve
from kcompress.errors import DataError, UsageError
from kcompress.model.rebuild import fingerprint
from kcompress.passes.base import Context
from kcompress.quantization.plan import FLOAT16
from kcompress.training.loop import jit
from tests.models import keras, two_in_two_out
from tests.passes.train.problems import accuracy, context, convolutional, spots

k = keras()


def trained(model, ctx=None, **fields):
    return TrainFinetune(**{"learning_rate": 0.01, **({} if "steps" in fields else {"epochs": 6}), **fields}).apply(
        model, ctx or context()
    )


def zeros(model):
    return {weight.path: np.asarray(weight) == 0 for weight in model.weights if "kernel" in weight.path}


def test_learns_and_tells_how_it_went():
    model = convolutional()
    result = trained(model)
    assert accuracy(result.model) > 0.9 > accuracy(model)
    losses = [epoch["loss"] for epoch in result.history]
    assert len(losses) == 6
    assert losses[-1] < losses[0] / 2
    assert all("weights moved by" in change.detail for change in result.changes)


def test_is_the_same_for_the_same_seed_and_another_for_another():
    first, again, other = (fingerprint(trained(convolutional(), context(seed=s), epochs=1).model) for s in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw", "adafactor", "muon", "lion"])
def test_zeros_stay_zero_under_every_optimizer_and_others_do_not(optimizer):
    pruned = PruneMagnitude(sparsity=0.7).apply(convolutional(), context()).model
    result = trained(pruned, optimizer=optimizer, epochs=1)
    for path, mask in zeros(pruned).items():
        assert mask.mean() > 0.6
        np.testing.assert_array_equal(zeros(result.model)[path], mask)
    assert all(weight.constraint is None for weight in result.model.weights)


def test_zeros_stay_zero_with_accumulated_gradients_in_half_precision():
    pruned = PruneMagnitude(sparsity=0.7).apply(convolutional(), context()).model
    result = trained(pruned, epochs=1, accumulate=2, precision="mixed_float16")
    for path, mask in zeros(pruned).items():
        np.testing.assert_array_equal(zeros(result.model)[path], mask)
    assert {layer.dtype_policy.name for layer in result.model.layers} == {"float32"}


def test_a_constraint_of_the_models_own_still_holds():
    config = convolutional().get_config()
    hidden = next(entry for entry in config["layers"] if entry["name"] == "hidden")
    hidden["config"]["kernel_constraint"] = k.saving.serialize_keras_object(k.constraints.MaxNorm(0.5))
    pruned = PruneMagnitude(sparsity=0.5).apply(k.Model.from_config(config), context()).model
    kernel = np.asarray(trained(pruned, epochs=1).model.get_layer("hidden").kernel)
    assert np.linalg.norm(kernel, axis=0).max() <= 0.5001
    assert (kernel == 0).mean() >= 0.5


def test_weights_on_a_float16_grid_end_on_it():
    result = QuantizeFloat16().apply(convolutional(), context())
    from kcompress.quantization.plan import QuantPlan

    after = trained(result.model, context(plan=QuantPlan(result.formats)), epochs=1).model
    assert FLOAT16.holds(np.asarray(after.get_layer("conv2").kernel))


def test_only_the_layers_asked_for_learn():
    model = convolutional()
    result = trained(model, layers="head", epochs=1)
    assert [change.layer for change in result.changes] == ["head"]
    for old, new in zip(model.weights, result.model.weights, strict=True):
        assert np.array_equal(old, new) == ("head" not in new.path), new.path
    assert all(weight.trainable == ("moving" not in weight.path) for weight in result.model.weights)


def test_frozen_layers_stay_and_are_named():
    model = convolutional()
    model.get_layer("conv1").trainable = False
    result = trained(model, epochs=1)
    assert {skip.layer: skip.reason for skip in result.skipped} == {"conv1": "it is frozen: its trainable is false"}
    np.testing.assert_array_equal(result.model.get_layer("conv1").kernel, model.get_layer("conv1").kernel)


def test_compile_state_survives_and_its_loss_is_used():
    model = convolutional(activation=None)
    model.compile("sgd", k.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    result = trained(model)
    assert type(result.model.optimizer).__name__ == "SGD"
    assert result.model.loss.get_config()["from_logits"]
    assert accuracy(result.model) > 0.9


def test_several_inputs_and_outputs_are_trained_together():
    model, random = two_in_two_out(), np.random.default_rng(0)
    x = {name: random.normal(size=(64, 4)).astype(np.float32) for name in ("left", "right")}
    y = {"score": random.normal(size=(64, 2)).astype(np.float32), "kind": np.arange(64) % 3}
    result = trained(model, Context(data=resolve((x, y))))
    losses = [epoch["loss"] for epoch in result.history]
    assert losses[-1] < losses[0]


def test_so_many_steps_are_taken_across_epochs():
    assert len(trained(convolutional(), steps=9, batch=32).history) == 2  # 6 batches of 205 samples, then 3


def test_stops_without_progress_and_keeps_the_best_weights():
    result = trained(convolutional(), epochs=30, patience=2, learning_rate=0.05, schedule="constant")
    losses = [epoch["validation_loss"] for epoch in result.history]
    assert len(losses) < 30
    assert np.argmin(losses) == len(losses) - 3


def test_a_diverging_training_gives_back_the_last_good_weights_and_says_where():
    model = convolutional(normalized=False)
    result = trained(model, optimizer="sgd", learning_rate=1e30)
    (goal,) = result.goals
    assert (goal.name, goal.limit, goal.reached) == ("epochs_lost", 0, 6)
    assert "the loss was no finite number at step " in goal.why
    assert result.changes == ()
    for old, new in zip(model.weights, result.model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_rare_classes_weigh_more_where_asked_for():
    x, y = spots()
    kept = (y > 0) | (np.arange(len(y)) < 16)  # class 0 is rare
    data = Context(data=resolve((x[kept], y[kept])))
    plain, balanced = (
        trained(convolutional(), data, epochs=1, class_weights=weights).history[0]["loss"]
        for weights in ("none", "balanced")
    )
    assert plain != balanced


def test_smoothed_labels_keep_the_loss_up():
    smoothed = trained(convolutional(), label_smoothing=0.2).history[-1]["loss"]
    assert smoothed > trained(convolutional()).history[-1]["loss"] + 0.3


def test_what_it_cannot_do_is_said_in_one_line():
    unlabelled = Context(data=resolve(spots()[0]))
    with pytest.raises(UsageError, match=r"train.finetune: data has no labels; give data with an array y"):
        trained(convolutional(), unlabelled)
    with pytest.raises(DataError, match=r"samples are less than a batch of 999"):
        trained(convolutional(), batch=999)
    x, y = spots()
    wrong = np.where(np.arange(len(y)) == 201, 7, y)  # not in the first batch
    with pytest.raises(DataError, match=r"label 7 does not fit the 4 classes of output 'head'"):
        trained(convolutional(), Context(data=resolve((x, wrong))))
    with pytest.raises(
        UsageError, match=r"train.finetune: loss=mean_squared_errors .* did you mean 'mean_squared_error'"
    ):
        trained(convolutional(), loss="mean_squared_errors")
    with pytest.raises(UsageError, match=r"rule for 'head': epochs is for the whole training"):
        TrainFinetune(rules=[{"layers": "head", "epochs": 2}])
    with pytest.raises(UsageError, match=r"needs training data"):
        trained(convolutional(), Context())


def test_a_step_is_compiled_by_xla_where_that_is_faster():
    assert jit() == (k.backend.backend() == "jax")
