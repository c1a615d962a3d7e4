"""`.h5` files of Keras 3, of Keras 2 (also those that Keras 3 rejects) and of TensorFlow Model Optimization.

Covers: formats/h5/format.py, formats/h5/keras2.py, formats/tensorflow_operators.py, formats/h5/tfmot.py.
"""

import numpy as np
import pytest

from kcompress.api.compress import compress
from kcompress.errors import ModelError, UnsafeError
from kcompress.formats import find
from kcompress.formats.keras.runner import KerasRunner
from tests.models import batch_for, dense, keras

keras()
tk = pytest.importorskip("tf_keras")
nn = tk.layers
TOLERANCE = 1e-4
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")


def mobile():
    """What Keras 3 rejects: groups in DepthwiseConv2D; ReLU6, batch normalization, a residual sum by operator."""
    inputs = tk.Input((12, 12, 3), name="image")
    x = nn.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(
        nn.Rescaling(1 / 127.5, -1.0, name="scale")(inputs)
    )
    x = nn.ReLU(6.0, name="relu")(nn.BatchNormalization(name="bn")(x))
    y = nn.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = nn.SeparableConv2D(4, 3, padding="same", activation="swish", name="separable")(y)
    x = nn.GlobalAveragePooling2D(name="pool")(x + y)
    return tk.Model(inputs, nn.Dense(3, "softmax", kernel_regularizer="l2", name="head")(x), name="mobile")


def series():
    inputs = tk.Input((7, 5), name="series")
    x = nn.Bidirectional(nn.LSTM(4, return_sequences=True, name="lstm"), name="both")(inputs)
    x = nn.TimeDistributed(nn.Dense(6, name="inner"), name="each")(x)
    x = nn.LayerNormalization(name="norm")(nn.Add(name="add")([x, nn.MultiHeadAttention(2, 3, name="attention")(x, x)]))
    return tk.Model(inputs, nn.GRU(3, name="gru")(x), name="series")


def shared_and_nested():
    inner = tk.Sequential([tk.Input((4,)), nn.Dense(5, name="d"), nn.BatchNormalization(name="bn")], name="inner")
    left, right = tk.Input((4,), name="left"), tk.Input((4,), name="right")
    shared = nn.Dense(4, "tanh", name="shared")
    x = nn.Concatenate(name="both")([inner(shared(left)), inner(shared(right))])
    return tk.Model([left, right], [nn.Dense(2, name="a")(x), nn.Dense(1, name="b")(x)], name="two")


def text():
    return tk.Sequential([tk.Input((6,)), nn.Embedding(20, 4, name="e"), nn.GlobalMaxPooling1D(name="p"), nn.Dense(2)])


def outputs_of(old, seed=0):
    random = np.random.default_rng(seed)
    samples = [random.integers(0, 9, (5, *t.shape[1:])).astype("float32") / 3 for t in old.inputs]
    if old.layers[0].name == "e":
        samples = [np.floor(s) for s in samples]
    found = old(samples if len(samples) > 1 else samples[0], training=False)
    return samples, [np.asarray(o) for o in (found if isinstance(found, (list, tuple)) else [found])]


def assert_same(path, old):
    new = find(path).read(path)
    runner = KerasRunner(new)
    samples, expected = outputs_of(old)
    for a, b in zip(runner(dict(zip(runner.inputs, samples, strict=True))), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
    return new


@pytest.mark.parametrize("build", [mobile, series, shared_and_nested, text])
def test_keras_2_file_gives_the_same_outputs_and_layer_names(build, tmp_path):
    old = build()
    for variable in old.weights:
        if "moving_variance" not in variable.name:
            variable.assign(np.random.default_rng(1).uniform(-0.5, 0.5, variable.shape))
    old.save(tmp_path / "m.h5", save_format="h5")
    new = assert_same(tmp_path / "m.h5", old)
    named = {layer.name for layer in old.layers if "tf." not in layer.name}
    assert named <= {layer.name for layer in new.layers} | {old.layers[0].name}


def test_file_that_keras_3_rejects_goes_all_the_way(tmp_path):
    mobile().save(tmp_path / "m.h5", save_format="h5")
    report = compress(tmp_path / "m.h5", tmp_path / "o.tflite", passes=["prune.magnitude", "quantize.float16"])
    assert report.source.format == "h5"
    assert {entry["layer"] for entry in report.passes[0].changed} == {"stem", "depthwise", "separable", "head"}


def test_keras_3_file(tmp_path):
    model = dense()
    model.save(tmp_path / "m.h5")
    new = find(tmp_path / "m.h5").read(tmp_path / "m.h5")
    for a, b in zip(model.weights, new.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def optimization():
    import warnings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_USE_LEGACY_KERAS", "1")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pytest.importorskip("tensorflow_model_optimization")
        yield found


def plain():
    layers = [nn.Conv2D(4, 3, activation="relu", name="conv"), nn.Flatten(name="flat"), nn.Dense(3, name="head")]
    return tk.Sequential([tk.Input((6, 6, 2)), *layers], name="plain")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pruned", "clustered", "quantized"])
def test_tfmot_wrappers_are_stripped(kind, optimization, tmp_path):
    if kind == "pruned":
        constant = optimization.sparsity.keras.ConstantSparsity(0.5, 0, frequency=1)
        wrapped = optimization.sparsity.keras.prune_low_magnitude(plain(), pruning_schedule=constant)
        callbacks = [optimization.sparsity.keras.UpdatePruningStep()]
    elif kind == "clustered":
        linear = optimization.clustering.keras.CentroidInitialization.LINEAR
        wrapped = optimization.clustering.keras.cluster_weights(
            plain(), number_of_clusters=4, cluster_centroids_init=linear
        )
        callbacks = []
    else:
        wrapped, callbacks = optimization.quantization.keras.quantize_model(plain()), []
    wrapped.compile("sgd", "mse")
    random = np.random.default_rng(0)
    wrapped.fit(random.random((16, 6, 6, 2)), random.random((16, 3)), verbose=0, callbacks=callbacks)
    wrapped.save(tmp_path / "m.h5", save_format="h5", include_optimizer=False)
    new = find(tmp_path / "m.h5").read(tmp_path / "m.h5")
    assert [(layer.name, type(layer).__module__.split(".")[0]) for layer in new.layers] == [
        (name, "keras") for name in ("conv", "flat", "head")
    ]
    kernel = np.asarray(new.get_layer("head").kernel)
    if kind == "pruned":
        assert np.mean(kernel == 0) == pytest.approx(0.5, abs=0.01)
    elif kind == "clustered":
        assert len(np.unique(kernel)) <= 4
    else:
        source = {v.name.split("/", 1)[-1]: v.numpy() for v in wrapped.get_layer("quant_head").weights}
        np.testing.assert_array_equal(kernel, source["head/kernel:0" if "head/kernel:0" in source else "kernel:0"])
        assert new.get_layer("conv").activation.__name__ == "relu"


def test_foreign_operator_is_refused(tmp_path):
    import tensorflow as tf

    inputs = tk.Input((4,), name="x")
    tk.Model(inputs, tf.reverse(inputs, [1])).save(tmp_path / "m.h5", save_format="h5")
    with pytest.raises(UnsafeError, match="TFOpLambda"):
        find(tmp_path / "m.h5").read(tmp_path / "m.h5")


def test_lambda_of_keras_2_is_refused(tmp_path):
    tk.Sequential([tk.Input((4,)), nn.Lambda(lambda x: x * 2, name="twice")]).save(tmp_path / "m.h5", save_format="h5")
    with pytest.raises(UnsafeError, match="'twice'"):
        find(tmp_path / "m.h5").read(tmp_path / "m.h5")


def test_weights_only_and_damaged_files_say_so(tmp_path):
    plain().save_weights(tmp_path / "w.h5")
    with pytest.raises(ModelError, match="weights only"):
        find(tmp_path / "w.h5").read(tmp_path / "w.h5")
    plain().save(tmp_path / "m.h5", save_format="h5")
    (tmp_path / "t.h5").write_bytes((tmp_path / "m.h5").read_bytes()[:4000])
    with pytest.raises(ModelError, match="damaged"):
        find(tmp_path / "t.h5").read(tmp_path / "t.h5")


def test_links_to_other_files_and_bombs_are_refused(tmp_path):
    import h5py

    dense().save(tmp_path / "a.h5")
    dense().save(tmp_path / "b.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["stolen"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(UnsafeError, match="another file"):
        find(tmp_path / "a.h5").read(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "a") as file:
        file.create_dataset("zeros", shape=(30_000_000,), dtype="f4", chunks=(1_000_000,), compression="gzip")
    with pytest.raises(UnsafeError, match="bomb"):
        find(tmp_path / "b.h5").read(tmp_path / "b.h5")


@pytest.mark.parametrize("loss", ["mse", "mean_squared_error", "sparse_categorical_crossentropy"])
def test_a_compile_state_that_keras_cannot_read_back_is_left_out(loss, tmp_path):
    """Keras 3 writes `mse` to HDF5, and does not find it when it reads the file."""
    model = dense()
    model.compile("adam", loss, metrics=["mae"])
    model.save(tmp_path / "m.h5")
    x = batch_for(model)["x"]
    found = find(tmp_path / "m.h5").open(tmp_path / "m.h5")({"x": x})[0]
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=1e-6)
