import numpy as np
import pytest

import kcompress
from kcompress.data import Splits
from kcompress.data.objects import open_data
from kcompress.errors import ModelError, UsageError
from kcompress.passes import find
from kcompress.passes.base import Context, TrainingContext
from kcompress.training.teachers import Teacher
from tests.models import dense, keras, seeded
from tests.shell import assert_refused
from tests.shell import kcompress as command

k = keras()
X = np.random.default_rng(0).random((60, 8), np.float32)
Y = np.arange(60) % 3


def teacher(seed):
    return seeded(dense(), seed)


def training(data):
    return Splits(open_data(data, "data").unsplit, None, None)


def context(data=None, seeds=(1, 2), digests=("a", "b")):
    """Teachers with weights of these seeds."""
    models = [teacher(seed) for seed in seeds]
    made = (Teacher(f"t{n}", d, lambda m=m: m) for n, (d, m) in enumerate(zip(digests, models, strict=True)))
    return Context(data=training((X, Y) if data is None else data), training=TrainingContext(tuple(made)))


def cached(cache):
    """What was kept of teachers: one array for each."""
    return [np.load(folder / "0.npy") for folder in sorted(cache.glob("teacher-*"))]


def distill(ctx, **settings):
    return find("train.distill")(steps=2, batch=20, **settings).apply(dense(), ctx).model


def test_the_student_learns_from_the_mean_of_the_probabilities(cache):
    distill(context())
    (kept,) = cached(cache)
    expected = np.log((np.asarray(teacher(1)(X)) + np.asarray(teacher(2)(X))) / 2)
    np.testing.assert_allclose(kept, expected, atol=1e-5)  # float32


def test_it_learns_without_labels_from_the_mean(cache):
    distill(context(X))
    expected = np.log((np.asarray(teacher(1)(X)) + np.asarray(teacher(2)(X))) / 2)
    np.testing.assert_allclose(cached(cache)[0], expected, atol=1e-5)


def test_weights_go_to_the_teacher_that_is_right(cache):
    right = np.asarray(teacher(1)(X)).argmax(1)
    distill(context((X, right)), combine="weighted")
    (kept,) = cached(cache)
    first, mean = np.asarray(teacher(1)(X)), (np.asarray(teacher(1)(X)) + np.asarray(teacher(2)(X))) / 2
    assert np.abs(np.exp(kept) - first).mean() < np.abs(mean - first).mean() / 2


def test_outputs_are_kept_for_each_way_and_found_again(cache):
    for how in ("average", "average", "weighted", "stacked"):
        distill(context(), combine=how)
    assert len(cached(cache)) == 3
    distill(context(digests=("a", "c")))
    assert len(cached(cache)) == 4


def test_one_teacher_is_taken_as_it_is(cache):
    distill(context(seeds=(1,), digests=("a",)), combine="stacked")
    np.testing.assert_allclose(np.exp(cached(cache)[0]), np.asarray(teacher(1)(X)), atol=1e-6)


def test_teachers_whose_outputs_differ_are_refused_with_both_shapes():
    other = k.Sequential([k.Input((8,), name="x"), k.layers.Dense(4, "softmax")])
    ctx = context()
    teachers = (ctx.training.teachers[0], Teacher("other.keras", "", lambda: other))
    ctx = Context(data=ctx.data, training=TrainingContext(teachers))
    with pytest.raises(ModelError, match=r"other.keras: its outputs are \(4,\), those of t0 \(3,\)"):
        distill(ctx)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dense().save("s.keras")
    for seed in (1, 2):
        teacher(seed).save(f"t{seed}.keras")
    np.savez("d.npz", x=X, y=Y)
    np.savez("x.npz", x=X)
    return tmp_path


TEACHERS = ("--teacher", "t1.keras", "--teacher", "t2.keras")


def settings_of(step, **options):
    report = kcompress.compress(
        "s.keras", "o.keras", passes=[step], data="d.npz", teachers=["t1.keras", "t2.keras"], overwrite=True, **options
    )
    return report.passes[0].config


def test_the_option_reaches_the_pass_and_a_setting_of_its_own_goes_before_it(files):
    assert settings_of("train.distill:steps=1", combine="weighted") == {"steps": 1, "combine": "weighted"}
    assert settings_of("train.distill:steps=1,combine=average", combine="weighted")["combine"] == "average"
    assert settings_of("train.distill:steps=1") == {"steps": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--combine", "weighted", *TEACHERS[:2], "--apply", "train.distill"], ["combine=weighted", "1 given"]),
        (["--combine", "weighted", "--apply", "train.distill"], ["combine=weighted", "0 given", "--teacher"]),
        (["--combine", "weighted", "--apply", "train.finetune"], ["no pass combines teachers", "train.distill"]),
        (["--combine", "mean", *TEACHERS, "--apply", "train.distill"], ["mean", "average", "weighted", "stacked"]),
        ([*TEACHERS, "--apply", "train.distill:combine=mean"], ["combine=mean", "average, weighted, stacked"]),
    ],
)
def test_a_combination_that_cannot_be_is_refused(arguments, words, files):
    assert_refused(command("compress", "s.keras", "o.keras", "--data", "d.npz", *arguments, cwd=files), 2, *words)


def test_weights_without_labels_are_refused(files):
    with pytest.raises(UsageError, match=r"combine=weighted needs labels, and x.npz has none; give data with them"):
        kcompress.compress(
            *("s.keras", "o.keras"),
            passes=["train.distill"],
            data="x.npz",
            teachers=["t1.keras", "t2.keras"],
            combine="weighted",
        )
