"""Tables in csv and parquet files become inputs and labels.

Covers: data/table_file.py.
"""

import re
import sys

import numpy as np
import pytest

from kcompress.data import resolve
from kcompress.errors import DataError, MissingExtraError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def csv(folder, text, name="data.csv"):
    (folder / name).write_text(text)
    return str(folder / name)


def table(folder, **columns):
    parquet.write_table(pyarrow.table(columns), folder / "data.parquet")
    return str(folder / "data.parquet")


def all_of(spec):
    return next(resolve(test=spec).test.batches(1000))


def test_features_are_every_column_but_the_label_in_order(tmp_path):
    batch = all_of(csv(tmp_path, "b,label,a\n1,7,2.5\n3,8,\n"))
    assert batch.x.dtype == np.float32
    assert np.array_equal(batch.x, [[1, 2.5], [3, np.nan]], equal_nan=True)
    assert batch.y.dtype == np.int64
    assert batch.y.tolist() == [7, 8]


def test_the_label_can_be_named(tmp_path):
    batch = all_of(csv(tmp_path, "a,kind,label\n1,5,2\n") + ":kind")
    assert batch.y.tolist() == [5]
    assert batch.x.tolist() == [[1, 2]]


@pytest.mark.parametrize("labels", ["dog cat dog", "true false true", "b 1 b"])
def test_texts_become_the_index_among_the_sorted_ones(tmp_path, labels):
    texts = labels.split()
    spec = csv(tmp_path, "a,label\n" + "".join(f"1,{text}\n" for text in texts))
    assert resolve(test=spec).test.classes == tuple(sorted(set(texts)))
    assert all_of(spec).y.tolist() == [1, 0, 1]


def test_a_parquet_file_gives_the_same_as_a_csv_file(tmp_path):
    text = all_of(csv(tmp_path, "a,b,label\n1,true,x\n2,false,y\n"))
    stored = all_of(table(tmp_path, a=[1, 2], b=[True, False], label=pyarrow.array(["x", "y"]).dictionary_encode()))
    assert np.array_equal(text.x, stored.x)
    assert np.array_equal(text.y, stored.y)
    assert stored.x.tolist() == [[1, 1], [2, 0]]


def test_numbers_of_any_type_are_features(tmp_path):
    large = pyarrow.array([2**63 + 5], pyarrow.uint64())
    batch = all_of(table(tmp_path, a=large, b=pyarrow.nulls(1), c=pyarrow.array([7]).dictionary_encode(), label=[1]))
    assert np.array_equal(batch.x, np.array([[2**63, np.nan, 7]], np.float32), equal_nan=True)


def test_numbers_with_a_fraction_are_values_to_predict(tmp_path):
    batch = all_of(csv(tmp_path, "a,target\n1,2.5\n2,3\n"))
    assert batch.y.dtype == np.float32
    assert batch.y.tolist() == [2.5, 3]


def test_what_the_first_megabyte_looks_like_does_not_decide(tmp_path):
    rows = "1,2,3\n" * 400_000  # 2.4 MB
    batch = next(resolve(test=csv(tmp_path, f"a,b,label\n{rows}0.5,,4.5\n")).test.batches(400_001))
    assert batch.x[-1, 0] == np.float32(0.5)
    assert np.isnan(batch.x[-1, 1])
    assert (batch.y.dtype, batch.y[-1]) == (np.float32, 4.5)
    spec = csv(tmp_path, f"a,b,label\n{rows}1,2,other\n")
    assert resolve(test=spec).test.classes == ("3", "other")


def test_inputs_named_like_columns_get_them(tmp_path):
    data = resolve(test=csv(tmp_path, "label,age,name,code\n1,30,joe,16777217\n")).test
    x = next(data.fit_to({"code": (None, 1), "age": (None,)}).batches(1)).x
    assert list(x) == ["code", "age"]
    assert x["code"].tolist() == [[16777217]]  # one more than float32 can count to
    assert x["age"].tolist() == [30]


def test_the_only_input_gets_all_features(tmp_path):
    data = resolve(test=csv(tmp_path, "label,a,b\n1,30,2\n")).test
    assert next(data.fit_to({"a": (None, 2)}).batches(1)).x["a"].tolist() == [[30, 2]]
    assert next(data.fit_to({"a": (None, 1)}).batches(1)).x["a"].tolist() == [[30]]
    single = resolve(test=csv(tmp_path, "label,a\n1,30\n")).test
    assert next(single.fit_to({"input": (None, 1)}).batches(1)).x["input"].tolist() == [[30]]
    with pytest.raises(DataError, match=r"x \(2 feature columns\) has samples of shape \(2,\), .* wants \(3,\)"):
        data.fit_to({"input": (None, 3)})


def test_test_labels_have_the_indices_of_the_training_labels(tmp_path):
    training = csv(tmp_path, "a,label\n1,ant\n1,bee\n1,cat\n")
    splits = resolve(training, test=csv(tmp_path, "a,label\n1,cat\n1,bee\n", "test.csv"))
    assert next(splits.test.batches(2)).y.tolist() == [2, 1]
    with pytest.raises(DataError, match=r"test\.csv: class 'dog' is not among the 3 classes of .*data\.csv"):
        resolve(training, test=csv(tmp_path, "a,label\n1,dog\n", "test.csv"))


def test_rows_are_counted_and_split(tmp_path):
    splits = resolve(csv(tmp_path, "a,label\n" + "".join(f"{row},0\n" for row in range(12))))
    assert (splits.training.samples, splits.test.samples) == (10, 2)
    assert [value for batch in splits.test.batches(1) for value in batch.x.ravel().tolist()] == [4, 9]


def test_the_fingerprint_follows_content_and_label(tmp_path):
    spec = csv(tmp_path, "a,b,label\n1,2,3\n")
    first = resolve(test=spec).test.fingerprint()
    assert resolve(test=f"{spec}:b").test.fingerprint() != first == resolve(test=f"{spec}:label").test.fingerprint()


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("a,b\n1,2\n", "", "no column is called label, target, class, y; its columns are a, b; name the label's"),
        ("a,y,class\n1,2,3\n", "", "columns class and y could each be the label; name one, as in "),
        ("age,b\n1,2\n", ":agee", "no column 'agee' (did you mean 'age'?); its columns are age, b; name one"),
        ("a,label\n1,2\n3,\n", "", "label column 'label' is empty in 1 rows"),
        ("a,label\n1,x\n3,\n", "", "label column 'label' is empty in 1 rows"),
        ("label\n1\n", "", "'label' is its only column"),
        ("a,a,label\n1,2,3\n", "", "column 'a' is there twice; rename one"),
        ("a,label\n", "", "it has no rows; give at least one sample"),
        ("", "", "it cannot be read as a table (Empty CSV file"),
        ("a,label\n1,2\n1\n", "", "it cannot be read as a table (CSV parse error"),
        ("a,label\n1,2024-01-01\n", "", "label column 'label' holds neither numbers nor texts"),
    ],
)
def test_tables_that_cannot_be_data_are_refused(tmp_path, text, label, message):
    spec = csv(tmp_path, text)
    with pytest.raises(DataError, match=f"^{re.escape(f'{spec}: {message}')}"):
        resolve(spec + label)


def test_features_that_are_no_numbers_are_named_when_they_are_used(tmp_path):
    data = resolve(test=csv(tmp_path, "a,name,city,label\n1,joe,rome,1\n")).test
    with pytest.raises(DataError, match="these columns hold no numbers: 'name', 'city';"):
        data.fit_to({"input": (None, 3)})
    with pytest.raises(DataError, match="these columns hold no numbers: 'name';"):
        data.fit_to({"a": (None, 1), "name": (None, 1)})


def test_an_input_without_a_column_is_named(tmp_path):
    data = resolve(test=csv(tmp_path, "age,size,label\n1,2,3\n")).test
    with pytest.raises(DataError, match=r"no column for the model's input 'sise' among age, size \(did you mean 's"):
        data.fit_to({"age": (None, 1), "sise": (None, 1)})


def test_a_file_that_is_no_parquet_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="it cannot be read as a table"):
        resolve(csv(tmp_path, "a,label\n", "data.parquet"))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"reading csv and parquet needs the 'data' extra"):
        resolve(test=csv(tmp_path, "a,label\n1,2\n"))


def test_a_label_that_appears_while_the_file_is_in_use_is_refused(tmp_path):
    data = resolve(test=csv(tmp_path, "a,label\n1,ant\n")).test
    csv(tmp_path, "a,label\n1,bee\n")
    with pytest.raises(DataError, match="label 'bee' is new; do not change the file while it is read"):
        list(data.batches(1))
