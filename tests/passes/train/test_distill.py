"""A student learns from a teacher's outputs and features.

Covers: training/ensembles/joint_teacher.py, training/losses/output_kind.py, training/pairing.py, training/student.py,
training/teachers.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from kcompress import PruneMagnitude, TrainDistill, TrainFinetune
from kcompress.data import resolve
from kcompress.errors import ModelError, UsageError
from kcompress.model.rebuild import copy, fingerprint
from kcompress.passes.base import Context, TrainingContext
from kcompress.quantization.plan import FLOAT16, QuantPlan
from kcompress.training.teachers import Teacher
from tests.models import keras
from tests.passes.train.problems import accuracy, context, convolutional, spots

k = keras()


@pytest.fixture(scope="module")
def teacher():
    return TrainFinetune(epochs=8, learning_rate=0.01).apply(convolutional(), context()).model


def taught(model, ctx, **fields):
    return TrainDistill(**{"learning_rate": 0.01, "epochs": 6, **fields}).apply(model, ctx)


def agreement(one, other):
    x = spots()[0]
    return float((np.asarray(one(x)).argmax(-1) == np.asarray(other(x)).argmax(-1)).mean())


def test_a_student_of_another_width_learns_from_the_teacher_without_labels(teacher):
    result = taught(convolutional(width=4), context(labelled=False, teacher=teacher), epochs=10)
    assert agreement(result.model, teacher) > 0.9


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_it_does_not_matter_whether_the_student_gives_logits(teacher, activation):
    result = taught(convolutional(activation=activation, width=4), context(teacher=teacher))
    assert accuracy(result.model) > 0.9


def test_alpha_weighs_teacher_against_labels(teacher):
    wrong = convolutional(width=4)  # a teacher that knows nothing
    by_labels = taught(convolutional(width=4), context(teacher=wrong), alpha=0.0).model
    by_teacher = taught(convolutional(width=4), context(teacher=wrong), alpha=1.0).model
    assert accuracy(by_labels) > 0.9
    assert accuracy(by_teacher) < 0.6


def test_outputs_are_computed_once_and_kept_for_the_next_training(teacher, cache, monkeypatch):
    known = (Teacher("teacher", "digest", lambda: copy(teacher)),)
    ctx = replace(context(), training=TrainingContext(known))
    first = taught(convolutional(width=4), ctx, epochs=1)
    assert len(list(cache.glob("teacher-*/0.npy"))) == 1
    monkeypatch.setattr("kcompress.training.teachers.compiled", None)  # a second run of the teacher would fail
    again = taught(convolutional(width=4), ctx, epochs=1)
    assert first.history[0]["loss"] == again.history[0]["loss"]


class Always:
    """Batches in another order each time."""

    def __init__(self):
        self.random = np.random.default_rng(0)

    def __iter__(self):
        x, y = spots()
        order = self.random.permutation(len(x))
        yield x[order], y[order]


def test_the_teacher_runs_in_every_step_where_data_is_another_each_time(teacher, cache):
    x, y = spots(20)
    known = (Teacher("t", "digest", lambda: copy(teacher)),)
    ctx = Context(data=resolve(Always(), test=(x, y)), training=TrainingContext(known))
    result = taught(convolutional(width=4), ctx, batch=32)
    assert not list(cache.glob("teacher-*"))
    assert accuracy(result.model) > 0.9


@pytest.mark.parametrize("features", ["auto", ["conv1", "hidden=hidden"]])
def test_features_are_learned_too(teacher, features):
    ctx = context(labelled=False, teacher=teacher)
    plain = taught(convolutional(width=4), ctx, epochs=1).history[0]["loss"]
    result = taught(convolutional(width=4), ctx, features=features)
    assert result.history[0]["loss"] > plain
    assert agreement(result.model, teacher) > 0.9


def test_features_are_learned_from_data_that_is_another_each_time(teacher):
    ctx = context(teacher=teacher)
    always = replace(ctx, data=resolve(Always(), test=spots(20)))
    result = taught(convolutional(width=4), always, features="auto", batch=32)
    assert accuracy(result.model) > 0.9


def test_a_teacher_of_a_fixed_batch_teaches_a_student_of_any(teacher):
    inputs = k.Input(batch_shape=(8, 12, 12, 1), name="image")
    fixed = k.Model(inputs, teacher(inputs))
    plain, other = (
        taught(convolutional(width=4), context(teacher=each), epochs=1).history[0]["loss"] for each in (teacher, fixed)
    )
    assert plain == pytest.approx(other, rel=1e-4)
    always = replace(context(teacher=fixed), data=resolve(Always(), test=spots(20)))
    with pytest.raises(UsageError, match=r"the teacher has a fixed batch of 8, .* give batch=8"):
        taught(convolutional(width=4), always, batch=32)


def test_features_of_unlike_shapes_are_compared_by_similarity_alone(teacher):
    ctx = context(teacher=teacher)
    with pytest.raises(UsageError, match=r"features=conv1=conv1: the student's output is \(12, 12, 4\), the teacher's"):
        taught(convolutional(width=4), ctx, features="conv1", feature_loss="mse")
    taught(convolutional(), ctx, features="conv1", feature_loss="mse", epochs=1)
    with pytest.raises(UsageError, match=r"train.distill: features=con1: the student has no such layer; did you mean"):
        taught(convolutional(), ctx, features="con1")


def test_a_teacher_of_other_shapes_is_refused_with_both():
    other = k.Sequential([k.Input((12, 12, 1)), k.layers.Flatten(), k.layers.Dense(7, "softmax")])
    with pytest.raises(ModelError, match=r"teacher: the teacher's outputs are \(7,\), the student's \(4,\)"):
        taught(convolutional(), context(teacher=other))


def test_the_model_itself_is_the_teacher_where_there_is_no_other(teacher):
    pruned = PruneMagnitude(sparsity=0.3).apply(teacher, context()).model
    own, other = (
        taught(pruned, context(labelled=False, teacher=model), epochs=1, learning_rate=1e-6).history[0]["loss"]
        for model in (None, convolutional())
    )
    assert own < other / 10


def narrow():
    """A student, as a user's function makes it."""
    conv = k.layers.Conv2D(6, 5, 2, activation="relu", name="conv")
    head = k.layers.Dense(4, name="z")
    return k.Sequential([k.Input((12, 12, 1)), conv, k.layers.Flatten(name="flat"), head], name="narrow")


SPEC = "tests.passes.train.test_distill:narrow"


def test_a_student_of_another_architecture_takes_the_models_place(teacher, tmp_path):
    result = TrainDistill(student=SPEC, epochs=12, learning_rate=0.01).apply(teacher, context())
    assert [layer.name for layer in result.model.layers][-1] == "z"
    assert [tensor.name for tensor in result.model.inputs] == ["image"]
    assert agreement(result.model, teacher) > 0.85
    first, again = (TrainDistill(student=SPEC, epochs=1).apply(teacher, context()).model for _ in range(2))
    assert fingerprint(first) == fingerprint(again)
    result.model.save(tmp_path / "student.keras")
    saved = TrainDistill(student=str(tmp_path / "student.keras"), epochs=1)
    assert saved.model_files() == (tmp_path / "student.keras",)
    assert saved.apply(teacher, context()).history[0]["loss"] < result.history[0]["loss"]


def test_a_student_that_does_not_fit_is_refused(teacher):
    other = k.Sequential([k.Input((12, 12, 1)), k.layers.Flatten(), k.layers.Dense(7, "softmax")])
    with pytest.raises(ModelError, match=r"narrow: the student's outputs are \(4,\), the model's \(7,\)"):
        TrainDistill(student=SPEC).apply(other, context())
    with pytest.raises(ModelError, match=r"it returned int; return a Keras model"):
        TrainDistill(student="builtins:int").apply(teacher, context())
    plan = QuantPlan({"conv2/kernel": FLOAT16})
    with pytest.raises(UsageError, match=r"takes the place of a model that was quantized; put it first"):
        TrainDistill(student=SPEC).apply(teacher, context(plan=plan))


def test_zeros_stay_zero(teacher):
    pruned = PruneMagnitude(sparsity=0.8).apply(teacher, context()).model
    after = taught(pruned, context(teacher=teacher)).model
    for layer in ("conv1", "conv2", "hidden", "head"):
        before = np.asarray(pruned.get_layer(layer).kernel) == 0
        np.testing.assert_array_equal(np.asarray(after.get_layer(layer).kernel) == 0, before)
