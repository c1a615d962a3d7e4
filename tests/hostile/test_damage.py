"""Damaged files of every format: each is refused on one line or read, never a traceback."""

import random
from pathlib import Path

import numpy as np
import pytest

import kcompress
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
