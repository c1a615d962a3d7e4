"""What --data, --calibration and --test may be, and which splits come of it.

Covers: data/arrays.py, data/dataset.py, data/keys.py, data/objects.py, data/source.py, data/specs.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kcompress.data import Splits, resolve
from kcompress.errors import DataError, UsageError

ROOT = Path(__file__).resolve().parents[2]
X, Y = np.arange(20).reshape(10, 2), np.arange(10)
OTHER = (X + 100, Y)


def firsts(data):
    """The first number of every sample, halved: the index of the samples of X."""
    return [int(value) // 2 for batch in data.batches(3) for value in batch.x[:, 0]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    np.savez("all.npz", x=X, y=Y)
    np.savez("split.npz", x_train=X[:7], y_train=Y[:7], x_test=X[7:], y_test=Y[7:])
    np.save("x.npy", X)
    return tmp_path


def test_nothing_given_is_nothing_known():
    assert resolve() == Splits(None, None, None)


def test_every_fifth_sample_is_test_data_where_there_is_no_split():
    splits = resolve((X, Y))
    assert firsts(splits.test) == [4, 9]
    assert firsts(splits.training) == firsts(splits.calibration) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert (splits.training.samples, splits.test.samples) == (8, 2)


def test_all_is_training_data_where_test_data_is_given():
    splits = resolve((X, Y), test=OTHER)
    assert firsts(splits.training) == list(range(10))
    assert firsts(splits.test) == list(range(50, 60))


def test_pairs_of_pairs_are_splits():
    splits = resolve(((X[:7], Y[:7]), (X[7:], Y[7:])))
    assert firsts(splits.training) == list(range(7))
    assert firsts(splits.test) == [7, 8, 9]


def test_a_source_with_splits_gives_each_use_its_own(folder):
    splits = resolve("all.npz", calibration="split.npz", test="split.npz")
    assert firsts(splits.training) == list(range(10))
    assert firsts(splits.calibration) == list(range(7))
    assert firsts(splits.test) == [7, 8, 9]


def test_all_of_a_source_without_splits_is_used(folder):
    splits = resolve("split.npz", calibration=OTHER, test="x.npy")
    assert firsts(splits.training) == list(range(7))
    assert firsts(splits.calibration) == list(range(50, 60))
    assert firsts(splits.test) == list(range(10))
    assert not splits.test.labelled


@pytest.mark.parametrize("name", ["all.npz", "x.npy"])
@pytest.mark.parametrize("use", ["data", "calibration"])
def test_test_data_that_is_trained_or_calibrated_on_is_refused(folder, name, use):
    (folder / "link").symlink_to(folder)
    for other in (name, folder / name, f"link/{name}"):
        with pytest.raises(DataError, match=r"the same samples were given for \w+ and as test data"):
            resolve(**{use: name}, test=other)


def test_the_same_object_is_recognised_as_well():
    def load():
        return X.copy(), Y

    for same in (X, (X, Y), {"x": X}, [X], load):
        with pytest.raises(DataError, match="the same samples were given for training"):
            resolve(same, test=same)


def test_calibration_on_the_source_of_the_data_keeps_the_test_samples_out(folder):
    splits = resolve("all.npz", calibration="all.npz")
    assert firsts(splits.calibration) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert firsts(splits.test) == [4, 9]


def test_data_sets_and_splits_are_taken_as_they_are():
    first = resolve((X, Y))
    assert resolve(first) == first
    again = resolve(first.training, test=first.test)
    assert (firsts(again.training), firsts(again.test)) == (firsts(first.training), firsts(first.test))
    assert resolve(calibration=first).calibration is first.calibration
    with pytest.raises(DataError, match="the same samples"):
        resolve(first.training, test=first.training)


def test_a_data_set_that_is_a_split_can_be_split_again():
    splits = resolve(resolve((X, Y)).training)
    assert firsts(splits.test) == [5]
    assert splits.training.samples == len(firsts(splits.training)) == 7


def test_too_few_samples_are_not_split():
    with pytest.raises(DataError, match="data: 4 samples are too few to set every fifth apart"):
        resolve((X[:4], Y[:4]))


def test_dicts_are_read_by_npz_keys_or_by_input_names():
    assert resolve({"x_train": X, "y_train": Y, "x_test": X[:3], "y_test": Y[:3]}).test.samples == 3
    named = resolve(test={"left": X, "right": Y}).test
    assert not named.labelled
    assert next(named.batches(2)).x["right"].tolist() == [0, 1]


def test_an_npy_file_is_samples_without_labels(folder):
    data = resolve(test="x.npy").test
    assert firsts(data) == list(range(10))
    before = data.fingerprint()
    assert before == resolve(test="x.npy").test.fingerprint()
    np.save("x.npy", X + 1)
    assert before != resolve(test="x.npy").test.fingerprint()


@pytest.mark.parametrize("content", [b"", b"text", np.lib.format.MAGIC_PREFIX + b"\x01\x00\x10\x00"])
def test_a_broken_npy_file_is_refused(folder, content):
    (folder / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"^x\.npy: not a readable \.npy file"):
        resolve("x.npy")


def test_an_npy_file_cut_short_or_of_objects_is_refused(folder):
    (folder / "x.npy").write_bytes((folder / "x.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match=r"^x\.npy: not a readable \.npy file"):
        resolve("x.npy")
    np.save("x.npy", np.array([print], object))
    with pytest.raises(DataError, match=r"^x\.npy: not a readable \.npy file"):
        resolve("x.npy")


def test_a_function_of_a_module_in_the_current_folder_is_called(folder):
    (folder / "mydata_a.py").write_text(
        "import numpy as np\n"
        "def pair():\n    return np.zeros((5, 2)), np.arange(5)\n"
        "def stream():\n    yield np.ones((4, 2)), np.arange(4)\n"
        "def path():\n    return 'all.npz'\n"
        "def broken():\n    return 1 / 0\n"
    )
    assert resolve(test="mydata_a:pair").test.samples == 5
    data = resolve(test="mydata_a:stream").test
    assert [len(list(data.batches(2))) for _ in range(2)] == [2, 2]
    assert firsts(resolve(test="mydata_a:path").test) == list(range(10))
    with pytest.raises(DataError, match="the same samples"):
        resolve("mydata_a:pair", test="mydata_a:pair")
    with pytest.raises(DataError, match=r"^mydata_a:broken: calling it failed with ZeroDivisionError"):
        resolve("mydata_a:broken")
    with pytest.raises(DataError, match=r"has no function 'pairs' \(did you mean 'pair'\?\)"):
        resolve("mydata_a:pairs")
    with pytest.raises(DataError, match="there is no module 'mydata_none'"):
        resolve("mydata_none:load")


def test_a_module_that_cannot_be_imported_is_reported(folder):
    (folder / "mydata_b.py").write_text("1 / 0")
    with pytest.raises(DataError, match=r"importing mydata_b failed with ZeroDivisionError \(division by zero\)"):
        resolve("mydata_b:load")


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("none.npz", DataError, r"none\.npz: no such file; give an existing one"),
        ("none.csv:label", DataError, r"none\.csv: no such file"),
        ("none", DataError, "none: no such file"),
        ("notes.txt", DataError, r"notes\.txt: files with suffix '\.txt' cannot be read; give FILE\.npz, FILE\.npy"),
        ("all.npz:x", UsageError, r"'all\.npz:x' names no data; only a table takes a label"),
        ("a b:load", UsageError, "'a b:load' names no data"),
        ("", UsageError, "'' names no data"),
        ("none.csv:", UsageError, r"'none\.csv:' names no label"),
        pytest.param("a\0b", DataError, r"a\\x00b: no such file", id="no-path-at-all"),
        pytest.param("x" * 5000, DataError, "x{5000}: no such file", id="too-long"),
        (3, DataError, "data: int is not a kind of data"),
        ((X, Y, Y), DataError, "data: a tuple of 3"),
        ({}, DataError, "data: an empty dict"),
        (({"a": X}, Y[:4]), DataError, r"data: x\['a'\] has 10 samples, y has 4"),
        (([[1, 2], [3]], [0, 1]), DataError, "data: x is list, which is no array"),
        ((np.array([[1, 2], [3]], object), Y), DataError, "data: x has dtype object"),
    ],
)
def test_what_is_no_data_is_refused(folder, spec, error, message):
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(error, match=f"^{message}") as caught:
        resolve(spec)
    assert "\n" not in str(caught.value)


def test_reading_arrays_imports_no_library_but_numpy(folder):
    program = (
        "import sys\nfrom kcompress.data import resolve\nlist(resolve('split.npz', test='x.npy').test.batches(2))\n"
        "print({'keras', 'tensorflow', 'pyarrow', 'PIL', 'pandas'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "set()\n", done.stderr
