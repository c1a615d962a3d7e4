"""A SavedModel folder can be inspected, run and compared; what cannot be done with it is said.

Covers: formats/savedmodel/format.py, formats/savedmodel/graph.py, formats/savedmodel/operators.py.
"""

import inspect
import os
import shutil

import numpy as np
import pytest

from kcompress.api import compare as comparison
from kcompress.api import inspect as inspection
from kcompress.api.compress import compress
from kcompress.errors import ModelError, UnsafeError, UnsupportedError
from kcompress.formats import find
from kcompress.formats.savedmodel.graph import checked_operators
from tests.models import batch_for, dense, keras, recurrent, residual, tokens, two_in_two_out


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


@pytest.mark.slow
@pytest.mark.parametrize("build", [residual, recurrent, tokens])
def test_what_keras_exports_only_computes(build, tmp_path):
    build().export(tmp_path / "m", format="tf_saved_model", verbose=False)
    assert inspection.inspect(tmp_path / "m").description.parameters == build().count_params()


def exported(module, path, **signatures):
    import tensorflow as tf

    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def test_writing_is_refused_wherever_it_hides(tmp_path):
    """In a function that another one calls, in a branch, in one that is called as those are that save, in a table."""
    keras()
    import tensorflow as tf

    names = tf.lookup.TextFileInitializer(
        str(tmp_path / "names"),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    (tmp_path / "names").write_text("a\nb\n")

    class Saving(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def traced_save_1(self, x):
            tf.raw_ops.SaveV2(prefix=x, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)])
            return x

        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def saving(self, x):
            return {"y": self.traced_save_1(x)}

    class Branch(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def branch(self, x):
            return {"y": tf.cond(tf.equal(x, "a"), lambda: tf.io.read_file(x), lambda: x)}

    class Table(tf.Module):
        def __init__(self):
            self.table = tf.lookup.StaticHashTable(names, -1)

        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def serve(self, x):
            return {"y": self.table.lookup(x)}

    saving, branch, table = Saving(), Branch(), Table()
    for number, (module, function, operator) in enumerate(
        [
            (saving, saving.saving, "SaveV2"),
            (branch, branch.branch, "ReadFile"),
            (table, table.serve, "InitializeTableFromText"),
        ]
    ):
        path = exported(module, tmp_path / str(number), serving_default=function)
        for use in (inspection.inspect, find(path).open):
            with pytest.raises(UnsafeError, match=operator):
                use(path)


def test_a_function_that_can_be_called_is_none_of_those_that_only_save(tmp_path):
    """Whatever it is called: a file may give any name to what is run."""
    keras()
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    proto, name = SavedModel(), "__inference__traced_save_1"
    meta = proto.meta_graphs.add()
    function = meta.graph_def.library.function.add()
    function.signature.name = name
    function.node_def.add(op="SaveV2")
    meta.object_graph_def.nodes.add()
    assert checked_operators(tmp_path, proto, ()) == {}
    meta.object_graph_def.concrete_functions[name].SetInParent()
    with pytest.raises(UnsafeError, match="SaveV2"):
        checked_operators(tmp_path, proto, ())


def test_no_operator_of_the_list_names_a_file_or_a_program():
    """By what TensorFlow itself says of their settings and inputs."""
    keras()
    import tensorflow as tf

    from kcompress.formats.savedmodel.operators import COMPUTE

    words = ("file", "path", "memory_region", "token", "address", "prefix", "program")
    registry = tf.raw_ops
    for name in COMPUTE:
        operator = getattr(registry, name, None)
        if operator is not None:
            taken = inspect.signature(operator).parameters
            assert not [each for each in taken if any(word in each for word in words)], name


def test_a_damaged_folder_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\x0a\xff\xff")
    with pytest.raises(ModelError, match="damaged"):
        inspection.inspect(tmp_path / "m")
    (tmp_path / "m" / "saved_model.pb").unlink()
    with pytest.raises(ModelError, match=r"without saved_model\.pb"):
        inspection.inspect(tmp_path / "m")


def test_only_variables_that_the_signature_uses_are_counted(tmp_path):
    keras()
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self):
            self.used, self.unused = tf.Variable([[1.0, 0.0]]), tf.Variable(tf.ones([5]))
            self.steps = tf.Variable(3)

        @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.float32)])
        def serve(self, x):
            return {"y": x @ self.used + tf.cast(self.steps, tf.float32)}

    module = Module()
    found = inspection.inspect(exported(module, tmp_path / "m", serving_default=module.serve)).description
    assert (found.parameters, found.nonzero, found.weight_bytes) == (2, 1, 8)
    assert (found.inputs, found.outputs) == ({"x": (None, 1)}, ("y",))


def test_a_file_of_tensorflow_1_is_inspected_and_run(tmp_path):
    keras()
    import tensorflow as tf

    one = tf.compat.v1
    with tf.Graph().as_default(), one.Session() as session:
        x = one.placeholder(tf.float32, [None, 3], "x")
        kernel = one.get_variable("kernel", initializer=np.float32([[1, 0], [2, 0], [3, 0]]))
        one.get_variable("unused", initializer=np.zeros(9, np.float32))
        y = tf.matmul(x, kernel)
        session.run(one.global_variables_initializer())
        one.saved_model.simple_save(session, str(tmp_path / "m"), {"x": x}, {"y": y})
    with pytest.raises(UnsafeError, match="pass --trust tensorflow"):  # saving is part of its only graph
        inspection.inspect(tmp_path / "m")
    found = inspection.inspect(tmp_path / "m", trust=["tensorflow"]).description
    assert (found.parameters, found.nonzero) == (6, 3)
    runner = find(tmp_path / "m").open(tmp_path / "m", trust=["tensorflow"])
    np.testing.assert_array_equal(runner({"x": np.ones((2, 3))})[0], [[6, 0], [6, 0]])


def test_damaged_variables_are_a_refusal(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "m")
    data = next((tmp_path / "m" / "variables").glob("*.data*"))
    data.write_bytes(data.read_bytes()[:40])
    with pytest.raises(ModelError, match="damaged"):
        inspection.inspect(tmp_path / "m")
    data.unlink()
    os.mkfifo(data)
    for use in (inspection.inspect, find(tmp_path / "m").open):
        with pytest.raises(ModelError, match="is a FIFO"):
            use(tmp_path / "m")


def test_variables_that_its_files_have_no_room_for_are_not_read(folder, monkeypatch):
    import tensorflow as tf

    whole = tf.train.load_checkpoint

    class Claiming:
        def __init__(self, path):
            self.has_tensor, self.get_tensor = (reader := whole(path)).has_tensor, reader.get_tensor
            self.get_variable_to_dtype_map = reader.get_variable_to_dtype_map
            self.shapes = {name: [10**6, 10**6, 10**6] for name in reader.get_variable_to_shape_map()}

        def get_variable_to_shape_map(self):
            return self.shapes

    monkeypatch.setattr(tf.train, "load_checkpoint", Claiming)
    with pytest.raises(ModelError, match="variables take"):
        inspection.inspect(folder)
