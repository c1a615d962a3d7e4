"""Damaged files of every format: each is refused on one line or read, never a traceback."""

import random
from pathlib import Path

import numpy as np
import pytest

import kcompress
from kcompress.data import resolve
from kcompress.errors import KCompressError
from tests.hostile.files import archive, base, dense, h5, members, sequential
from tests.models import keras


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A small file of every format, by suffix."""
    folder = tmp_path_factory.mktemp("valid")
    k = keras()
    (folder / "m.keras").write_bytes(base())
    model = k.saving.load_model(folder / "m.keras")
    for suffix in (".tflite", ".onnx"):
        kcompress.compress(model, folder / f"m{suffix}", passes=["quantize.weights:bits=4"])
    k.Sequential([k.Input((4,)), k.layers.Dense(3)]).save(folder / "m.h5")
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


def damaged(content: bytes, seed: int) -> bytes:
    """Some bytes changed, the file cut short, or a piece of it put elsewhere."""
    chance = random.Random(seed)
    data = bytearray(content)
    kind = seed % 4
    if kind == 0:
        return bytes(data[: chance.randrange(len(data))])
    if kind == 1:
        start, to = (chance.randrange(len(data)) for _ in range(2))
        data[to : to + 64] = data[start : start + 64]
    for _ in range(1 if kind == 2 else 12):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


@pytest.mark.filterwarnings("ignore")  # of NumPy, about numbers that overflow
@pytest.mark.parametrize("suffix", [".keras", ".h5", ".tflite", ".onnx"])
def test_a_damaged_file_is_refused_on_one_line_or_read(suffix, valid, tmp_path, monkeypatch):
    path, refused = tmp_path / f"m{suffix}", 0
    for seed in range(60):
        path.write_bytes(damaged(valid[suffix], seed))
        try:
            kcompress.inspect(path)
        except KCompressError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(path) in str(error)
    assert refused > 15


DAMAGED = {  # what is wrong, the file, words of the refusal
    "a compressed member": lambda p: scrambled(p, zip_method=8),
    "a member under LZMA": lambda p: scrambled(p, zip_method=14),
    "a member under bzip2": lambda p: scrambled(p, zip_method=12),
    "a config that is no model": lambda p: archive(p, {**members(), "config.json": b"[]"}),
    "a config of 600 levels": lambda p: archive(p, {**members(), "config.json": b"[" * 600 + b"]" * 600}),
    "a config of many levels": lambda p: archive(p, {**members(), "config.json": b"[" * 100_000}),
    "a config that claims much": lambda p: archive(p, {**members(), "config.json": b" " * 17_000_000}, compression=8),
}


def scrambled(path: Path, zip_method: int) -> Path:
    archive(path, members(), compression=zip_method)
    content = bytearray(path.read_bytes())
    start = content.index(b"config.json") + 40
    content[start : start + 8] = bytes(8)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_wrong_with_an_archive_is_told(case, tmp_path):
    path = DAMAGED[case](tmp_path / "m.keras")
    with pytest.raises(KCompressError, match=r"m\.keras") as caught:
        kcompress.inspect(path)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("config", "training"),
    [
        (np.arange(3), None),
        (5.0, None),
        (np.array(["a", "b"], "S"), None),
        ("[]", None),
        ("{", None),
        ("[" * 5000, None),
        (sequential(dense()), 7),
        (sequential(dense()), "{"),
        ({"class_name": "Sequential"}, None),
        ({"class_name": "Sequential", "config": 3}, None),
    ],
)
def test_what_is_wrong_with_hdf5_attributes_is_told(config, training, tmp_path):
    h5(tmp_path / "m.h5", config, training)
    with pytest.raises(KCompressError, match=r"m\.h5"):
        kcompress.inspect(tmp_path / "m.h5")


def test_weights_of_an_onnx_file_that_lie_outside_are_found_wherever_they_are_named(valid, tmp_path):
    import onnx

    path = tmp_path / "m.onnx"
    path.write_bytes(valid[".onnx"])
    proto = onnx.load(path)
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="../secret")
    proto.graph.node.add(op_type="Constant", output=["unused"]).attribute.add(name="value", type=4).t.CopyFrom(tensor)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(KCompressError, match="weight 't' lies outside the folder") as caught:
        kcompress.inspect(path)
    assert caught.value.exit_code == 3


def graph(path, *nodes, shape=(7, None)):
    import onnx
    from onnx import helper

    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size)
        for name, size in (("x", [None, 8]), ("y", shape))
    ]
    made = helper.make_graph(nodes, "g", values[:1], values[1:])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def constant(name, values):
    from onnx import helper, numpy_helper

    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))


def test_weights_of_an_onnx_file_may_lie_in_nodes(tmp_path):
    from onnx import helper

    weights = constant("w", np.eye(8, 3, dtype=np.float32))
    path = graph(tmp_path / "m.onnx", weights, helper.make_node("MatMul", ["x", "w"], ["y"]), shape=(None, 3))
    found = kcompress.inspect(path).description
    assert (found.parameters, found.nonzero) == (24, 3)
    assert kcompress.compare([path])[0].figures.parameters == 24


def test_a_model_that_fails_while_it_runs_is_one_line_and_the_runtime_says_nothing(tmp_path, capfd):
    from onnx import helper

    path = graph(tmp_path / "m.onnx", constant("s", np.array([7, -1])), helper.make_node("Reshape", ["x", "s"], ["y"]))
    kcompress.inspect(path)
    with pytest.raises(KCompressError, match=r"m\.onnx: ONNX Runtime cannot run it"):
        kcompress.compare([path])
    assert capfd.readouterr() == ("", "")


def test_named_types_in_hdf5_are_let_be(tmp_path):
    import h5py

    k = keras()
    k.Sequential([k.Input((4,)), k.layers.Dense(3)]).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file["type"] = file["model_weights/type"] = np.dtype("f4")
    assert kcompress.inspect(tmp_path / "m.h5").description.parameters == 15
    for value in (np.dtype("f4"), np.zeros(3)):
        with h5py.File(tmp_path / "m.h5", "a") as file:
            del file["model_weights"]
            file["model_weights"] = value
        with pytest.raises(KCompressError, match=r"m\.h5: cannot be loaded \(Invalid H5 file"):
            kcompress.inspect(tmp_path / "m.h5")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (1000000000, 8), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 8), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 8), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 8",
        "__import__('os').system('touch canary')",
        "[" * 3000,
        "",
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_header_of_an_array_that_cannot_be_is_refused(suffix, header, tmp_path):
    text = header.encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(100)
    path = tmp_path / f"d.{suffix}"
    if suffix == "npy":
        path.write_bytes(content)
    else:
        archive(path, {"x.npy": content})
    with pytest.raises(KCompressError, match=rf"d\.{suffix}") as told:
        resolve(data=str(path))
    assert "\n" not in str(told.value)
