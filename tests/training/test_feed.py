import numpy as np
import pytest

from kcompress.data.objects import open_data
from kcompress.errors import DataError
from kcompress.training import feed as feeds
from kcompress.training.feed import ArrayFeed, StreamFeed, feed
from tests.models import dense

X = np.arange(20 * 8, dtype=np.float32).reshape(20, 8)
Y = np.arange(20) % 3


def feed_of(tmp_path, size=6, seed=0, labels=True, data=(X, Y)):
    return feed(dense(), open_data(data, "data").unsplit, size, seed, tmp_path, labels)


def drawn(read, epoch):
    batches = [read.batch(epoch * read.per_epoch + number) for number in range(read.per_epoch)]
    return np.concatenate([batch[0]["x"][:, 0] for batch in batches])


def test_an_epoch_has_whole_batches_of_samples_that_come_once(tmp_path):
    read = feed_of(tmp_path)
    assert (read.per_epoch, read.samples) == (3, 20)
    for epoch in range(3):
        assert len(set(drawn(read, epoch))) == 18


def test_every_epoch_has_another_order_and_a_batch_is_the_same_whenever_it_is_asked_for(tmp_path):
    read = feed_of(tmp_path)
    first, second = drawn(read, 0), drawn(read, 1)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(drawn(read, 0), first)
    np.testing.assert_array_equal(drawn(feed_of(tmp_path), 1), second)
    assert not np.array_equal(drawn(feed_of(tmp_path, seed=1), 0), first)


def test_labels_go_with_their_samples(tmp_path):
    x, (y,) = feed_of(tmp_path).batch(4)
    np.testing.assert_array_equal(y, x["x"][:, 0] / 8 % 3)


def test_labels_are_left_out_where_none_are_wanted(tmp_path):
    assert feed_of(tmp_path, labels=False).batch(0)[1] == []


def test_samples_set_apart_are_not_trained_on(tmp_path):
    training, rest = feed_of(tmp_path, size=4).apart(0.2)
    assert rest is not None
    assert (training.samples, rest.samples) == (16, 4)
    assert not set(training.rows) & set(rest.rows)
    assert feed_of(tmp_path).apart(0.0)[1] is None
    with pytest.raises(DataError, match=r"10 samples are left to train on .* less than a batch of 12"):
        feed_of(tmp_path, size=12).apart(0.5)


def test_samples_that_do_not_fit_into_memory_lie_in_files(tmp_path, monkeypatch):
    kept = feed_of(tmp_path)
    monkeypatch.setattr(feeds, "MEMORY", 100)
    read = feed_of(tmp_path)
    assert list(tmp_path.glob("*.npy"))
    np.testing.assert_array_equal(drawn(read, 1), drawn(kept, 1))


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="data: 20 samples are less than a batch of 21; give a smaller batch"):
        feed_of(tmp_path, size=21)


def test_without_a_size_a_batch_has_all_samples_where_they_are_few(tmp_path):
    assert feed_of(tmp_path, size=None).size == 20


class Varying:
    """Batches of 5 that are others each time."""

    def __init__(self):
        self.times = 0

    def __iter__(self):
        self.times += 1
        for start in range(0, 20, 5):
            yield X[start : start + 5] + 1000 * self.times, Y[start : start + 5]


def test_data_that_is_another_each_time_is_read_over_and_over(tmp_path):
    read = feed_of(tmp_path, size=4, data=Varying())
    assert isinstance(read, StreamFeed)
    first, later = read.batch(0)[0]["x"], read.batch(read.per_epoch)[0]["x"]
    assert not np.array_equal(first, later)
    np.testing.assert_array_equal(read.batch(0)[0]["x"], first)  # a backend may look at it twice
    assert isinstance(feed_of(tmp_path), ArrayFeed)
