import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from kcompress.data import resolve
from kcompress.errors import DataError

X, Y = np.arange(60, dtype=np.uint8).reshape(10, 3, 2), np.arange(10)


def save(folder, **arrays):
    """Write data.npz in the current folder of the test and return its path."""
    path = folder / "data.npz"
    np.savez_compressed(path, **arrays)
    return path


def all_of(data, size=3):
    batches = list(data.batches(size))
    return np.concatenate([batch.x for batch in batches]), np.concatenate([batch.y for batch in batches])


def replace_member(path, member, content):
    """Write the zip anew with other bytes for one member."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (held | {member: content(held[member])}).items():
            archive.writestr(name, data)


def test_keras_keys_give_both_splits_in_their_own_dtype(tmp_path):
    splits = resolve(str(save(tmp_path, x_train=X, y_train=Y, x_test=X[:4] + 1, y_test=Y[:4])))
    x, y = all_of(splits.training)
    assert x.dtype == np.uint8
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)
    assert splits.calibration is splits.training
    assert np.array_equal(all_of(splits.test)[0], X[:4] + 1)
    assert (splits.training.samples, splits.test.samples, splits.test.labelled) == (10, 4, True)


def test_reading_twice_gives_the_same(tmp_path):
    data = resolve(test=str(save(tmp_path, x=X, y=Y))).test
    assert np.array_equal(all_of(data, 3)[0], all_of(data, 4)[0])


def test_samples_without_labels_have_none(tmp_path):
    data = resolve(test=str(save(tmp_path, x=X))).test
    assert not data.labelled
    assert next(data.batches(4)).y is None


def test_validation_data_is_test_data_where_there_is_no_other(tmp_path):
    assert resolve(str(save(tmp_path, x_train=X, x_val=X[:3]))).test.samples == 3
    assert resolve(str(save(tmp_path, x_train=X, x_val=X[:3], x_test=X[:2]))).test.samples == 2


def test_named_inputs_are_read_as_a_dict(tmp_path):
    path = save(tmp_path, x_train_left=X, x_train_right=Y, y_train=Y)
    batch = next(resolve(str(path)).training.batches(2))
    assert list(batch.x) == ["left", "right"]
    assert batch.x["right"].tolist() == batch.y.tolist() == [0, 1]


def test_fortran_order_and_foreign_byte_order_are_read_right(tmp_path):
    x = np.asfortranarray(np.arange(12, dtype=">f4").reshape(6, 2))
    data = resolve(test=str(save(tmp_path, x=x, y=np.arange(6, dtype=">i2")))).test
    first, last = data.batches(4)
    assert np.array_equal(np.concatenate([first.x, last.x]), x)
    assert last.y.tolist() == [4, 5]
    assert first.x.dtype.isnative
    assert first.y.dtype.isnative


def test_not_a_number_is_a_value_like_any_other(tmp_path):
    data = resolve(test=str(save(tmp_path, x=np.full((3, 2), np.nan)))).test
    assert np.isnan(next(data.batches(3)).x).all()


def test_memory_stays_small_however_large_the_array_is(tmp_path):
    path = save(tmp_path, x=np.zeros((50, 1000, 1000), np.float32), y=np.zeros(50))  # 200 MB
    data = resolve(test=str(path)).test
    tracemalloc.start()
    try:
        assert sum(batch.samples for batch in data.batches(1)) == 50
        assert tracemalloc.get_traced_memory()[1] < 20e6  # a batch is 4 MB, and one more may be on its way
    finally:
        tracemalloc.stop()


def test_the_fingerprint_follows_content_and_split(tmp_path):
    splits = resolve(str(save(tmp_path, x_train=X, x_test=X)))
    first = splits.training.fingerprint()
    assert first == splits.training.fingerprint() != splits.test.fingerprint()
    assert resolve(str(save(tmp_path, x_train=X + 1, x_test=X))).training.fingerprint() != first


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y[:9]}, "x has 10 samples, y has 9; give arrays of the same length"),
        ({"y": Y}, "it has y but no x; name the samples x"),
        ({"x_train": X, "y_test": Y}, "it has y_test but no x_test; name the samples x_test"),
        ({"x": X, "labels": Y}, "key 'labels' is not one of x, y"),
        ({"x": X, "x_train": X}, "it has both x and x_train; give samples with splits or without"),
        ({"x": X, "x_left": X}, "it has both x and x_left; give one array, or one for each name"),
        ({"x": np.array(["a", "b"])}, "x has dtype <U1; allowed are bool, integers and floats"),
        ({"x": np.array(3.0)}, "x is a single number; give an array with one row per sample"),
        ({"x": np.zeros((0, 3))}, r"x has shape (0, 3), which holds no values; give at least one sample"),
        ({}, "it holds no arrays; give x, y"),
    ],
)
def test_arrays_that_cannot_be_data_are_refused(tmp_path, arrays, message):
    path = save(tmp_path, **arrays)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {message}')}"):
        resolve(str(path))


def test_pickled_objects_are_refused_unread(tmp_path):
    path = save(tmp_path, x=np.array([print, print], object))
    with pytest.raises(DataError, match="x has dtype object"):
        resolve(str(path))


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path):
    path = save(tmp_path, x=X, y=Y)
    replace_member(path, "x.npy", lambda data: data.replace(b"(10, 3, 2)", b"(99, 3, 2)"))
    with pytest.raises(DataError, match="x's header promises 594 bytes, the file holds 60"):
        resolve(str(path))


def test_an_impossible_shape_is_refused(tmp_path):
    path = save(tmp_path, x=X)
    replace_member(path, "x.npy", lambda data: data.replace(b"(10, 3, 2)", b"(-5,-3, 4)"))
    with pytest.raises(DataError, match="x has the impossible shape"):
        resolve(str(path))


@pytest.mark.parametrize("keep", [0, 10, 150])
def test_a_file_cut_short_is_refused(tmp_path, keep):
    path = save(tmp_path, x=X, y=Y)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        resolve(str(path))


def test_damaged_values_are_refused_when_they_are_read(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros(100_000, np.uint8))
    content = bytearray(path.read_bytes())
    content[50_000] = 1  # the zip's checksum no longer fits
    path.write_bytes(content)
    data = resolve(test=str(path)).test
    with pytest.raises(DataError, match=r"not a readable \.npz file \(Bad CRC-32"):
        list(data.batches(1000))


def test_a_file_that_shrinks_later_is_refused_when_it_is_read(tmp_path):
    path = save(tmp_path, x=X, y=Y)
    data = resolve(test=str(path)).test
    save(tmp_path, x=X[:5], y=Y[:5])
    with pytest.raises(DataError, match=r"not a readable \.npz file \(x ends early"):
        list(data.batches(10))
