import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompress.data.batches import Batch, digest, in_split, join, leaves, pack, rebatch, split, split_size
from kcompress.errors import DataError

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def stream_of(lengths: list[int]) -> tuple[np.ndarray, list[Batch]]:
    """Samples 0, 1, … with x (N, 2) and y (N,), and the same in batches of these lengths."""
    y = np.arange(sum(lengths))
    x = np.stack([y, -y], axis=1)
    ends = np.cumsum(lengths)
    return x, [Batch(x[end - length : end], y[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


@given(sizes, st.integers(1, 20))
def test_rebatching_keeps_every_sample_in_order(lengths, size):
    x, stream = stream_of(lengths)
    batches = list(rebatch(stream, size))
    assert [batch.samples for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert 1 <= batches[-1].samples <= size
    assert np.array_equal(np.concatenate([batch.x for batch in batches]), x)
    assert np.array_equal(np.concatenate([batch.y for batch in batches]), x[:, 0])


@given(sizes, st.integers(1, 20), st.integers(0, 120))
def test_a_limit_cuts_the_stream_to_its_first_samples(lengths, size, limit):
    x, stream = stream_of(lengths)
    batches = list(rebatch(stream, size, limit))
    assert sum(batch.samples for batch in batches) == min(limit, len(x))
    assert all(np.array_equal(batch.y, x[n * size : n * size + batch.samples, 0]) for n, batch in enumerate(batches))


def test_a_limit_that_is_reached_asks_for_no_further_batch():
    def stream():
        yield Batch(np.zeros((4, 1)))
        raise AssertionError("asked for more than the limit")

    assert [batch.samples for batch in rebatch(stream(), 2, 4)] == [2, 2]


def test_batches_of_the_right_size_are_passed_on_without_a_copy():
    x = np.zeros((6, 3))
    assert all(np.shares_memory(batch.x, x) for batch in rebatch([Batch(x[:3]), Batch(x[3:])], 3))


@given(sizes)
def test_every_sample_is_in_exactly_one_split(lengths):
    x, stream = stream_of(lengths)
    training, test = ([sample for batch in split(stream, part) for sample in batch.y] for part in (False, True))
    assert test == [index for index in range(len(x)) if index % 5 == 4]
    assert sorted(training + test) == list(range(len(x)))
    assert (len(training), len(test)) == (split_size(len(x), False), split_size(len(x), True))


def test_the_split_counts_samples_across_batches():
    assert in_split(3, 4, test=True).tolist() == [False, True, False, False]


@pytest.mark.parametrize("arrays", [np.arange(3), {"left": np.arange(3)}, (np.arange(3), np.ones(3))])
def test_packing_undoes_leaves(arrays):
    packed = pack(leaves(arrays))
    assert type(packed) is type(arrays)
    assert leaves(packed).keys() == leaves(arrays).keys()


def test_joining_keeps_names_and_the_lack_of_labels():
    joined = join([Batch({"left": np.array([1]), "right": np.array([2])}), Batch({"left": [3], "right": [4]})])
    assert joined.y is None
    assert {key: array.tolist() for key, array in joined.x.items()} == {"left": [1, 3], "right": [2, 4]}


@given(sizes, st.integers(1, 20))
def test_the_digest_does_not_depend_on_batching(lengths, size):
    _, stream = stream_of(lengths)
    assert digest(stream, "data") == digest(rebatch(stream, size), "data")


def test_the_digest_depends_on_values_dtype_labels_and_keys():
    x, y = np.arange(4, dtype=np.int32), np.arange(4)
    others = [
        Batch(x, y),
        Batch(x),
        Batch(x + 1, y),
        Batch(x, y + 1),
        Batch(x.astype(np.uint32), y),
        Batch({"a": x}, y),
    ]
    assert len({digest([batch], "data") for batch in others}) == len(others)


def test_the_digest_of_nothing_is_refused():
    with pytest.raises(DataError, match=r"^data: it holds no samples"):
        digest([], "data")
