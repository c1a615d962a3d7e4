"""A SavedModel folder can be inspected, run and compared; what cannot be done with it is said.

Covers: formats/savedmodel/format.py.
"""

import shutil

import numpy as np
import pytest

from kcompress.api import compare as comparison
from kcompress.api import inspect as inspection
from kcompress.api.compress import compress
from kcompress.errors import ModelError, UnsafeError, UnsupportedError
from kcompress.formats import find
from tests.models import batch_for, dense, keras, two_in_two_out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    dense().export(path, format="tf_saved_model", verbose=False)
    return path


def test_gives_the_outputs_of_its_source(folder):
    model = dense()
    x = batch_for(model)
    found = find(folder).open(folder)({"x": x["x"]} if "x" in find(folder).open(folder).inputs else x)[0]
    np.testing.assert_allclose(found, model.predict(x["x"], verbose=0), atol=1e-6)


def test_is_inspected_with_its_weights(folder):
    found = inspection.inspect(folder).description
    assert (found.format, found.parameters) == ("savedmodel", dense().count_params())
    assert {row.name for row in found.rows} >= {"variables", "MatMul"}


def test_is_compared_with_other_formats(folder, tmp_path):
    model = dense()
    model.save(tmp_path / "m.keras")
    x = batch_for(model, 30)["x"]
    found = comparison.compare([tmp_path / "m.keras", folder], test=(x, np.arange(30) % 3))
    assert found[1].quality.agreement == 1
    assert found[1].figures.bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def test_several_inputs_and_outputs(tmp_path):
    model = two_in_two_out()
    model.export(tmp_path / "two", format="tf_saved_model", verbose=False)
    model.save(tmp_path / "m.keras")
    found = comparison.compare([tmp_path / "m.keras", tmp_path / "two"], test=batch_for(model, 20))
    assert found[1].quality.agreement == pytest.approx(1)


def test_compressing_it_says_what_to_give_instead(folder, tmp_path):
    with pytest.raises(UnsupportedError, match=r"give the \.keras or \.h5 file"):
        compress(folder, tmp_path / "o.keras")


def test_a_graph_that_reads_files_is_refused_unless_trusted(tmp_path):
    keras()
    import tensorflow as tf

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def serve(self, name):
            return {"content": tf.io.read_file(name)}

    module = Reader()
    tf.saved_model.save(module, str(tmp_path / "reader"), signatures={"serving_default": module.serve})
    with pytest.raises(UnsafeError, match="ReadFile"):
        find(tmp_path / "reader").open(tmp_path / "reader")
    find(tmp_path / "reader").open(tmp_path / "reader", trust=["tensorflow"])


def test_a_damaged_folder_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\x0a\xff\xff")
    with pytest.raises(ModelError, match="damaged"):
        inspection.inspect(tmp_path / "m")
    (tmp_path / "m" / "saved_model.pb").unlink()
    with pytest.raises(ModelError, match=r"without saved_model\.pb"):
        inspection.inspect(tmp_path / "m")
