"""Private attributes of libraries: read in one module, and still there in the installed versions."""

import ast
from functools import cache

import numpy as np
import pytest

from kcompress import keras_internals as internals
from kcompress.errors import UnsupportedError
from tests.models import dense, keras
from tests.test_layering import PACKAGE, SOURCES, imports

OURS = PACKAGE / "keras_internals.py"
DOCUMENTED = {("os", "_exit"), ("hashlib", "_Hash")}
"""Names that begin with an underscore, but are documented, or only the names of types."""


@cache
def own_names() -> set[str]:
    """Names that kcompress's own functions, classes and fields have."""
    found = set()
    for path in SOURCES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                found.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


def foreign(tree: ast.AST, own: set[str]) -> list[str]:
    """Private attributes of others that are read or set, by name or by a text, and private modules imported."""
    found = [name for name in imports(tree) if not name.startswith("kcompress") and is_private_module(name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            base = node.value.id if isinstance(node.value, ast.Name) else ""
            if base not in ("self", "cls") and (base, node.attr) not in DOCUMENTED:
                found.append(node.attr)
        by_text = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "patched")
        if by_text and len(node.args) > 1:
            name = getattr(node.args[1], "value", None)
            found += [name] if isinstance(name, str) and is_private(name) else []
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_private_module(name: str) -> bool:
    parts = name.split(".")[:-1]
    return parts[:2] == ["keras", "src"] or any(map(is_private, parts))


@pytest.mark.parametrize("module", SOURCES)
def test_no_other_module_reads_private_attributes(module):
    path = SOURCES[module]
    if path != OURS:
        assert foreign(ast.parse(path.read_text(encoding="utf-8")), own_names()) == []


@pytest.mark.parametrize(
    "source",
    [
        "layer._metrics",
        "getattr(layer, '_metrics', None)",
        "patched(layer, '_metrics', 1)",
        "from keras.src import tree",
        "def f():\n    from jax._src import core",
    ],
)
def test_one_that_does_is_seen(source):
    assert len(foreign(ast.parse(source), set())) == 1


def test_what_is_gone_is_named_with_the_version():
    with pytest.raises(UnsupportedError, match=r"keras 3\.\d+\.\d+ has no Dense\._gone any more; install a version"):
        internals.private(keras().layers.Dense(1), "_gone")


def functional():
    k = keras()
    inputs = k.Input((3,))
    return k.Model(inputs, k.layers.Dense(2, name="hidden")(inputs))


def attention():
    k = keras()
    layer = k.layers.MultiHeadAttention(2, 3, value_dim=4)
    x = k.Input((5, 6))
    return layer, layer(x, x)


def test_layers_and_their_variables():
    model = functional()
    assert internals.layers_of(model)[0] is model
    assert internals.layers_of(model, itself=False) == model.layers
    learned, kept = internals.own_variables(keras().layers.BatchNormalization(name="b"))
    assert (learned, kept) == ([], [])
    assert [v.name for v in internals.own_variables(model.get_layer("hidden"))[0]] == ["kernel", "bias"]
    assert len(internals.seed_generators(keras().layers.Dropout(0.5))) == 1
    assert internals.seed_generators(model.get_layer("hidden")) == []
    assert hasattr(model.get_layer("hidden"), internals.TRAINABLE)
    assert hasattr(model, internals.ADDITIONAL_LOSS)
    assert internals.layers_as_listed(keras().Sequential([keras().Input((3,)), keras().layers.Dense(2)]))


def test_parts_of_attention():
    layer, _ = attention()
    shapes = {
        name: tuple(internals.attention_part(layer, name).kernel.shape) for name in ("query", "key", "value", "output")
    }
    assert shapes == {"query": (6, 2, 3), "key": (6, 2, 3), "value": (6, 2, 4), "output": (2, 4, 6)}
    assert internals.attention_part(layer, "gate") is None
    assert internals.value_dim(layer) == 4
    assert internals.attention_output_shape(layer) is None


def test_graphs():
    k = keras()
    layer, tensor = attention()
    assert internals.producer(tensor) is layer
    model = functional()
    assert [node.operation for node in internals.nodes_in_order(model)] == model.layers
    assert k.tree.flatten(internals.input_structure(model)) == model.inputs
    assert k.tree.flatten(internals.output_structure(model)) == model.outputs
    assert internals.is_functional_class(type(model))
    sequential = k.Sequential([k.Input((3,)), k.layers.Dense(2)])
    assert internals.functional_of(sequential).inputs
    assert internals.mask_of(k.ops.ones((2, 3))) is None
    assert internals.takes_training(k.layers.Dropout(0.5))


def test_compiled_models():
    model = dense()
    assert internals.compiled_loss(keras().Sequential([keras().layers.Dense(1)])) is None
    model.compile("sgd", loss="mse", loss_weights=[0.5])
    assert internals.compiled_loss(model) == ("mse", [0.5])
    assert internals.compile_settings(model)["loss"] == "mse"
    losses, metrics = keras().losses, keras().metrics
    assert internals.function_settings(losses.CategoricalCrossentropy(from_logits=True))["from_logits"]
    assert internals.wrapped_function(metrics.MeanSquaredError()) is losses.mean_squared_error


def test_variables_without_values():
    k = keras()
    with internals.variables_without_values():
        layer = k.layers.Dense(1 << 20)
        layer.build((None, 1 << 20))
    assert layer.kernel.shape == (1 << 20, 1 << 20)


def test_a_layout_is_set():
    variable = keras().Variable(np.zeros(2))
    internals.set_layout(variable, None)
    assert variable._layout is None


@pytest.mark.slow
def test_models_of_keras_2():
    import tf_keras

    inputs = tf_keras.Input((3,))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(2)(inputs))
    assert internals.is_keras2_graph(model)
    assert [layer.name for layer in internals.keras2_input_layers(model)] == [model.layers[0].name]
    assert internals.keras2_uses(model, str(id(model.inputs[0]))) == 1
    assert len(list(internals.nodes_in_order(model, "tf_keras"))) == 2
    assert len(internals.keras2_structures(model)) == 2
    way_back = tf_keras.layers.Bidirectional(tf_keras.layers.LSTM(1))
    assert not internals.keras2_has_backward_layer(way_back)


def test_the_cluster_of_jax_and_the_patch_of_tf2onnx_are_there():
    from jax._src import clusters
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    assert callable(clusters.ClusterEnv.auto_detect_unset_distributed_params)
    assert callable(patch_tf2onnx)
