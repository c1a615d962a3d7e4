"""The size of a `.keras` file whose weights lie on a grid, and that stock Keras reads exactly those weights from it.

Covers: formats/keras/archive.py, formats/keras/description.py, formats/keras/hdf5.py.
"""

import lzma
import sys
import zipfile
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest

from kcompress.formats import WriteOptions, formats
from kcompress.formats.keras.archive import BZIP2, DEFLATED, LITERALS, STORED, Method, best_method, write_zip
from kcompress.formats.keras.format import WEIGHTS, load
from kcompress.formats.keras.hdf5 import digest, repack
from kcompress.model.view import nodes
from kcompress.numerics.packing import pack_levels
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import QuantPlan
from tests.other_process import STOCK, call
from tests.passes.models import Projection, everything
from tests.quick import write_as_users_get
from tests.stock import read
from tests.sweep import some


@pytest.fixture(autouse=True)
def every_method(monkeypatch):
    write_as_users_get(monkeypatch.setattr)


def write(path, model, plan, **options):
    formats()["keras"].write(model, plan, path, WriteOptions(**options))
    return path


def integers(model, plan):
    """All that the file has to hold: the integers, `bits` each and back to back, then the other weights as float32."""
    levels, others, bits = [], [], 8
    for node in nodes(model):
        for weight in node.weights:
            format = plan.weights.get(node.qualified(weight))
            if format is None:
                others.append(weight.values.tobytes())
            else:
                levels.append(format.levels(weight.values).ravel())
                bits = format.bits
    packed = np.concatenate(levels).astype(np.int8) if bits == 8 else pack_levels(np.concatenate(levels), bits)
    return packed.tobytes() + b"".join(others)


@pytest.mark.parametrize(("scale", "limit"), [("power_of_two", 1.10), ("float", 1.40)])
@pytest.mark.parametrize("bits", [8, 4])
def test_a_file_on_a_grid_is_not_much_larger_than_its_integers_under_lzma(bits, scale, limit, fixtures, tmp_path):
    result = find("quantize.weights")(bits=bits, scale=scale).apply(load(fixtures / "lenet300.keras"), Context())
    plan = QuantPlan(result.formats)
    path = write(tmp_path / "o.keras", result.model, plan)
    bound = len(lzma.compress(integers(result.model, plan), lzma.FORMAT_ALONE, preset=9 | lzma.PRESET_EXTREME))
    assert path.stat().st_size <= limit * bound


STEPS = {
    "8 bits": {"bits": 8},
    "8 bits, powers of two": {"bits": 8, "scale": "power_of_two"},
    "4 bits": {"bits": 4},
    "4 bits, powers of two": {"bits": 4, "scale": "power_of_two"},
    "one scale": {"bits": 4, "scale": "power_of_two", "granularity": "per_tensor"},
}


@pytest.mark.parametrize(
    ("compression", "step"),
    some(product(["auto", "deflate", "none"], STEPS), lambda case: case[0] == "auto" or case[1] == "one scale"),
)
def test_every_kind_of_layer_comes_back_exactly(compression, step, tmp_path):
    fields = STEPS[step]
    result = find("quantize.weights")(**fields).apply(everything(), Context())
    path = write(tmp_path / "o.keras", result.model, QuantPlan(result.formats), compression=compression)
    with zipfile.ZipFile(path) as archive, archive.open(WEIGHTS) as member, h5py.File(member) as file:
        sets = []
        file.visititems(lambda _, item: sets.append(item) if isinstance(item, h5py.Dataset) else None)
        narrow = [item for item in sets if item.id.get_type().get_size() <= 2]
        assert len(narrow) == len(result.formats)
        assert any(item.chunks for item in sets) == ("granularity" not in fields)
    again = load(path, custom_objects={"Projection": Projection})
    for ours, theirs in zip(result.model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_stock_keras_reads_it_without_kcompress(fixtures, tmp_path):
    step = find("quantize.weights")(bits=4, scale="power_of_two", rules=[{"layers": "stem*", "bits": 8}])
    result = step.apply(load(fixtures / "resnet8.keras"), Context())
    write(tmp_path / "o.keras", result.model, QuantPlan(result.formats))
    weights = result.model.get_weights()
    assert call(STOCK, read, str(tmp_path / "o.keras"))["weights"] == len(weights)
    with np.load(tmp_path / "o.keras.npz") as found:
        assert all(np.array_equal(found[f"weight{number}"], values) for number, values in enumerate(weights))


def test_same_weights_give_same_bytes(fixtures, tmp_path):
    found = []
    for number in range(2):
        result = find("quantize.weights")(bits=8).apply(load(fixtures / "mobilenet.keras"), Context())
        found.append(write(tmp_path / f"{number}.keras", result.model, QuantPlan(result.formats)).read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("missing", [("bz2",), ("lzma",), ("bz2", "lzma")])
def test_a_python_without_bzip2_or_lzma_writes_with_what_it_has(missing, fixtures, tmp_path, monkeypatch):
    model = load(fixtures / "mobilenet.keras")
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)  # importing it raises ImportError
    path = write(tmp_path / "o.keras", model, QuantPlan())
    monkeypatch.undo()
    np.testing.assert_array_equal(load(path).get_weights()[0], model.get_weights()[0])
    with zipfile.ZipFile(path) as archive:
        kinds = {info.compress_type for info in archive.infolist()}
    assert not kinds & {{"bz2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}[module] for module in missing}


METHODS = [STORED, DEFLATED, BZIP2, *(Method(14, *c) for c in LITERALS)]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_zipfile_reads_every_method_and_its_size_is_as_measured(method, tmp_path):
    content = np.random.default_rng(0).normal(size=200_000).astype(np.float16).tobytes()
    file = tmp_path / "content"
    file.write_bytes(content)
    write_zip(tmp_path / "o.zip", {"a": content, "b": file}, {"a": method, "b": method})
    with zipfile.ZipFile(tmp_path / "o.zip") as archive:
        assert archive.testzip() is None
        assert archive.read("a") == archive.read("b") == content
        assert archive.getinfo("b").compress_type == method.kind
        if method.kind != zipfile.ZIP_STORED:
            assert archive.getinfo("b").compress_size == method.size(content)


def test_dense_weights_are_deflated_whatever_else_would_save(tmp_path):
    """LZMA would save 8 % at a third of the speed."""
    file = tmp_path / "content"
    np.random.default_rng(0).normal(size=500_000).astype(np.float32).tofile(file)
    assert best_method(file) == DEFLATED
    assert best_method(file.read_bytes()[:100_000]).kind == zipfile.ZIP_LZMA  # small: the smallest


@pytest.mark.parametrize("value", [1.5, 2.0**-24, -(2.0**-16), 57344.0, 0.0])
def test_a_float_of_eight_bits_comes_back(value, tmp_path):
    values = np.full((3, 2), value, np.float32)
    for number, axes in enumerate([(), (1,), (0, 1)]):
        source, target = tmp_path / f"{number}.h5", tmp_path / f"{number}o.h5"
        with h5py.File(source, "w") as file:
            file["layers/a/vars/0"] = values
        repack(Path(source), Path(target), {digest(values): axes})
        with h5py.File(target) as file:
            found = file["layers/a/vars/0"]
            assert found.id.get_type().get_size() == (2 if value == 2.0**-24 else 1)
            np.testing.assert_array_equal(np.array(found), values)
