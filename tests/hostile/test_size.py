"""How large a file may be, and what it holds against what it says: a refusal comes before anything is read whole.

A file of 10^12 bytes that is mostly a hole takes hours to read, and its arrays do not fit in memory.
"""

import io
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from kcompress import inspect
from kcompress.errors import KCompressError, ModelError, UnsafeError
from kcompress.formats.trusted import trusting
from tests.hostile.files import archive, members
from tests.models import dense, keras
from tests.shell import assert_refused, light

HUGE = 10**12


def with_hole(path, content=b"", before=b""):
    with path.open("wb") as file:
        file.write(before)
        file.truncate(HUGE)
        if content:
            file.seek(HUGE)
            file.write(content)
    return path


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("big.tflite", ["inspect", "big.tflite"]),
        ("big.onnx", ["compare", "big.onnx"]),
        ("big.npy", ["compress", "m.keras", "o.keras", "--data", "big.npy"]),
        ("big.npz", ["compress", "m.keras", "o.keras", "--data", "big.npz"]),
        ("big.csv", ["compress", "m.keras", "o.keras", "--data", "big.csv"]),
        ("big.parquet", ["compress", "m.keras", "o.keras", "--data", "big.parquet"]),
        ("big.yaml", ["compress", "m.keras", "o.keras", "--recipe", "big.yaml"]),
        ("big.json", ["compress", "m.keras", "o.keras", "--recipe", "big.json"]),
        ("pyproject.toml", ["check", ".", "--max-size", "1KB"]),
    ],
)
def test_a_file_that_is_one_hole_is_refused(name, command, tmp_path):
    dense().save(tmp_path / "m.keras")
    with_hole(tmp_path / name)
    assert_refused(light(*command, cwd=tmp_path), 2, name)


def test_a_model_behind_a_hole_is_refused(tmp_path):
    dense().save(tmp_path / "m.keras")
    with pytest.raises(UnsafeError, match=r"has 1,000,0.* but its config accounts for"):
        inspect(with_hole(tmp_path / "front.keras", (tmp_path / "m.keras").read_bytes()))
    dense().save(tmp_path / "m.h5")
    with pytest.raises(UnsafeError, match="1,000,000,000,000 bytes, which take"):
        inspect(with_hole(tmp_path / "tail.h5", before=(tmp_path / "m.h5").read_bytes()))


def test_a_saved_model_beside_a_hole_is_refused(tmp_path):
    dense().export(tmp_path / "m", format="tf_saved_model", verbose=False)
    (tmp_path / "m" / "assets").mkdir(exist_ok=True)
    with_hole(tmp_path / "m" / "assets" / "words.txt")
    with pytest.raises(UnsafeError, match="has 1,000,0"):
        inspect(tmp_path / "m")


def edited_weights(change):
    """The contents of an archive, its weights changed."""
    contents = members()
    buffer = io.BytesIO(contents["model.weights.h5"])
    with h5py.File(buffer, "a") as file:
        change(file["layers/dense/vars"])
    return {**contents, "model.weights.h5": buffer.getvalue()}


def replaced(group, name="0", **settings):
    del group[name]
    group.create_dataset(name, **settings)


SHAPES = {  # CVE-2026-0897 and CVE-2026-12570: a shape of which the file has next to nothing
    "chunks": {"shape": (10**6, 10**6), "dtype": "f4", "chunks": (1024, 1024), "compression": "gzip"},
    "no chunks": {"shape": (10**6, 10**6), "dtype": "f4"},
    "many dimensions": {"shape": (2**8,) * 7, "dtype": "f8"},
}


@pytest.mark.parametrize("case", SHAPES)
def test_weights_that_the_config_does_not_account_for_are_refused(case, tmp_path):
    contents = edited_weights(lambda group: replaced(group, **SHAPES[case]))
    with pytest.raises(UnsafeError, match="expands to"):
        inspect(archive(tmp_path / "m.keras", contents))
    dense().save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        found = []
        file["model_weights"].visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
        replaced(found[0].parent, found[0].name.split("/")[-1], **SHAPES[case])
    with pytest.raises(UnsafeError, match="expand to"):
        inspect(tmp_path / "m.h5")


def elsewhere(group, tmp_path, kind):
    """CVE-2026-1669: values that lie in another file."""
    secret = tmp_path / "secret.h5"
    if not secret.exists():
        with h5py.File(secret, "w") as file:
            file["w"] = np.ones((4, 3), np.float32)
    del group["0"]
    if kind == "external":
        group.create_dataset("0", (4, 3), "f4", external=[(str(secret), 0, 48)])
    elif kind == "virtual":
        layout = h5py.VirtualLayout((4, 3), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "w", (4, 3))
        group.create_virtual_dataset("0", layout)
    else:
        group["0"] = h5py.ExternalLink(str(secret), "w")


@pytest.mark.parametrize("kind", ["external", "virtual", "link"])
def test_weights_in_another_file_are_refused(kind, tmp_path):
    contents = edited_weights(lambda group: elsewhere(group, tmp_path, kind))
    with pytest.raises(UnsafeError, match=r"another file; re-save the model in one piece"):
        inspect(archive(tmp_path / "m.keras", contents))


def test_a_group_that_holds_itself_ends(tmp_path):
    def change(group):
        group.parent["inner"] = group.parent
        group.parent["up"] = h5py.SoftLink("/layers")

    assert inspect(archive(tmp_path / "m.keras", edited_weights(change))).description.parameters == 23


def test_groups_deep_inside_of_each_other_are_one_line_or_read(tmp_path):
    def change(group):
        for _ in range(3000):
            group = group.create_group("g")

    try:
        inspect(archive(tmp_path / "m.keras", edited_weights(change)))
    except KCompressError as error:
        assert "\n" not in str(error)


DOCUMENTS = {
    "many numbers": b'{"a":[' + b",".join([b"1"] * 3_000_000) + b"]}",
    "many mappings": b'{"a":[' + b",".join([b"{}"] * 2_000_000) + b"]}",
    "long": b'{"a":"' + b"x" * 17_000_000 + b'"}',
    "deep": b"[" * 1_000_000,
    "deep mappings": b'{"a":' * 1_000_000,
    "no model": b'{"class_name": "Sequential"}',
    "a list": b"[]",
    "a number": b"1e999",
}


@pytest.mark.parametrize("member", ["config.json", "metadata.json"])
@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_document_that_no_model_has_is_one_line(case, member, tmp_path):
    path = archive(tmp_path / "m.keras", {**members(), member: DOCUMENTS[case]}, compression=8)
    if member == "metadata.json" and case in ("a list", "a number"):
        assert inspect(path).description.parameters == 23
        return
    with pytest.raises(KCompressError) as told:
        inspect(path)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


def test_many_members_are_refused(tmp_path):
    path = archive(tmp_path / "m.keras", {**members(), **{f"assets/{n}": b"" for n in range(20_000)}})
    with pytest.raises(ModelError, match=r"20,00. members, at most 10,000"):
        inspect(path)


def test_a_sequential_is_put_together_once(monkeypatch):
    """Keras does so anew after each layer: 1,000 layers took it five minutes."""
    k = keras()
    put_together = []
    own = k.Sequential.build
    monkeypatch.setattr(k.Sequential, "build", lambda self, *shape: put_together.append(self) or own(self, *shape))
    config = k.Sequential([k.Input((4,)), *(k.layers.Dense(4) for _ in range(60))]).get_config()
    put_together.clear()
    with trusting(()):
        made = k.Sequential.from_config(config)
    assert (len(made.layers), made.count_params(), len(put_together)) == (60, 1200, 1)


def test_nested_models_are_put_together_too(tmp_path):
    k = keras()
    inner = k.Sequential([k.Input((4,)), k.layers.Dense(3), k.layers.Dense(2)], name="inner")
    unbuilt = k.Sequential([k.layers.Dense(5), k.layers.Dense(2)], name="unbuilt")
    model = k.Sequential([k.Input((4,)), inner, unbuilt])
    model.save(tmp_path / "m.keras")
    shutil.copy(tmp_path / "m.keras", tmp_path / "copy.keras")
    assert inspect(tmp_path / "copy.keras").description.parameters == model.count_params()


def test_names_of_members_do_not_leave_the_archive(tmp_path):
    for name in ("/etc/x", "../x", "assets/../../x", "\\x"):
        with pytest.raises(UnsafeError, match="points outside"):
            inspect(archive(tmp_path / "m.keras", {**members(), name: b"x"}))
    assert not Path(tmp_path.parent, "x").exists()
