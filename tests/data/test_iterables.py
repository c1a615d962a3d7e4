import random

import numpy as np
import pytest

from kcompress.data import resolve
from kcompress.errors import DataError

X, Y = np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10)


class Loader:
    """Batches as a torch DataLoader has them: a list of x and y, a new iterator each time."""

    def __init__(self, shuffle=False):
        self.shuffle = shuffle

    def __iter__(self):
        order = random.sample(range(10), 10) if self.shuffle else list(range(10))
        for start in range(0, 10, 4):
            yield [X[order[start : start + 4]], Y[order[start : start + 4]]]


def samples(data, size=3):
    return np.concatenate([batch.x for batch in data.batches(size)])


@pytest.mark.parametrize(
    "source", [Loader(), [(X[:7], Y[:7]), (X[7:], Y[7:])], lambda: iter(Loader()), Loader().__iter__]
)
def test_batches_are_read_again_and_again(source):
    data = resolve(test=source).test
    assert data.labelled
    assert data.samples is None
    assert np.array_equal(samples(data, 3), X)
    assert np.array_equal(samples(data, 4), X)


def test_batches_of_samples_alone_have_no_labels():
    for source in ([X[:7], X[7:]], [(X,)]):
        data = resolve(test=source).test
        assert not data.labelled
        assert np.array_equal(samples(data), X)


def test_an_unsplit_iterable_is_split():
    splits = resolve(Loader())
    assert np.array_equal(samples(splits.test), X[4::5])
    assert len(samples(splits.training)) == 8


def test_a_shuffling_iterable_is_not_split_but_can_be_training_data():
    random.seed(1)
    with pytest.raises(DataError, match="data: its order changes each time, so no test data can be set apart"):
        resolve(Loader(shuffle=True))
    assert len(samples(resolve(Loader(shuffle=True), test=(X, Y)).training)) == 10


def test_the_fingerprint_is_of_all_values_however_they_are_batched():
    first = resolve(test=Loader()).test.fingerprint()
    assert first == resolve(test=[(X, Y)]).test.fingerprint()
    assert first != resolve(test=[(X, np.append(Y[:9], 0))]).test.fingerprint()


def test_inputs_by_name_and_by_position_are_kept():
    named = next(resolve(test=[({"left": X, "right": Y}, Y)]).test.batches(2)).x
    placed = next(resolve(test=[((X, Y), Y)]).test.batches(2)).x
    assert named["right"].tolist() == placed[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (iter([X]), "data: a list_iterator can be read only once; give the function that makes it, or a list"),
        ((x for x in [X]), "data: a generator can be read only once"),
        ([], "data: it yields no batches"),
        ([(X, Y, Y)], "data: it yields 3 values at a time"),
        ([(X, Y[:4])], "data: x has 10 samples, y has 4"),
        ([(1.5, 2)], "data: x is a single number"),
        (["text"], "data: it yields str"),
        ([(X, ["a"] * 10)], "data: y has dtype <U1"),
    ],
)
def test_what_cannot_be_read_as_batches_is_refused(source, message):
    with pytest.raises(DataError, match=f"^{message}"):
        resolve(source)


def test_batches_that_differ_from_the_first_are_refused():
    for source, message in (
        ([X, Y], r"batch 1 has samples of shape x \(\), the first batch of x \(2,\); .* as a tuple \(x, y\)"),
        ([(X, Y), (X, X)], r"batch 1 has samples of shape x \(2,\), y \(2,\), the first batch of x \(2,\), y \(\)"),
        ([(X, Y), (X,)], "some batches have labels and others none"),
    ):
        data = resolve(test=source).test
        with pytest.raises(DataError, match=message):
            list(data.batches(4))


def test_an_error_inside_the_iterable_is_reported_with_its_type():
    def broken():
        yield X, Y
        raise KeyError("gone")

    data = resolve(test=broken).test
    with pytest.raises(DataError, match=r"test: reading it failed with KeyError \('gone'\)"):
        list(data.batches(4))


def test_tensorflow_and_keras_data_sets_are_read():
    tf = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")

    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            return X[2 * index : 2 * index + 2], Y[2 * index : 2 * index + 2]

    class Endless(Pairs):
        num_batches = None

    class Unsized(keras.utils.PyDataset):
        def __getitem__(self, index):
            return X, Y

    pipeline = tf.data.Dataset.from_tensor_slices((X, Y))
    for source in (pipeline.batch(4), Pairs()):
        assert np.array_equal(samples(resolve(test=source).test), X)
    for source in (pipeline.batch(4).repeat(), Endless(), Unsized()):
        with pytest.raises(DataError, match="never ends"):
            resolve(test=source)
    with pytest.raises(DataError, match="y is a single number; give an array with one row per sample"):
        resolve(test=pipeline)
    with pytest.raises(DataError, match="its order changes each time"):
        resolve(pipeline.shuffle(10, seed=1).batch(4))
    assert np.array_equal(next(resolve(test=tf.constant(X)).test.batches(10)).x, X)
