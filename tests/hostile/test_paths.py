"""What is no file where a file is to be read, and what would be replaced although it is read.

Covers: files.py.
"""

import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kcompress.data.images import ImageSource
from kcompress.errors import DataError
from tests.models import dense
from tests.shell import assert_refused, light

SPECIAL = {
    "a FIFO": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a character device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": lambda path: bound(path),
}


def bound(path):
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))  # whose file stays


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    dense().save(folder / "m.keras")
    np.savez(folder / "d.npz", x=np.random.default_rng(0).random((20, 8), np.float32), y=np.arange(20) % 3)
    (folder / "r.yaml").write_text("passes: [quantize.float16]\n")
    return folder


@pytest.fixture
def place(files, tmp_path, monkeypatch):
    """A folder with a model, data and a recipe, which is the current one: paths of sockets must be short."""
    monkeypatch.chdir(tmp_path)
    for path in files.iterdir():
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


READ = {  # where a file is read: the name of a path that is none, and the command
    "model": ("s.keras", ["compress", "s.keras", "o.keras"]),
    "model to inspect": ("s.onnx", ["inspect", "s.onnx"]),
    "recipe": ("s.yaml", ["compress", "m.keras", "o.keras", "--recipe", "s.yaml"]),
    "data": ("s.npz", ["compress", "m.keras", "o.keras", "--data", "s.npz"]),
    "table": ("s.csv", ["compress", "m.keras", "o.keras", "--data", "s.csv"]),
    "test data": ("s.npy", ["compare", "m.keras", "--test", "s.npy"]),
    "teacher": (
        "s.keras",
        ["compress", "m.keras", "o.keras", "--data", "d.npz", "--apply", "train.distill", "--teacher", "s.keras"],
    ),
    "output": ("s.keras", ["compress", "m.keras", "s.keras", "--overwrite"]),
    "report": ("s.json", ["compress", "m.keras", "o.keras", "--overwrite", "--report", "s.json"]),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("case", READ)
def test_what_is_no_file_is_refused_at_once(case, kind, place):
    name, command = READ[case]
    if (kind, case) == ("a folder", "test data"):
        pytest.skip("a folder of images may have any name")
    SPECIAL[kind](Path(name))
    before = sorted(place.iterdir())
    done = light(*command, cwd=place)
    words = () if kind == "a folder" and name.endswith((".npz", ".csv")) else (kind,)
    assert_refused(done, 2, name, *words)
    assert sorted(place.iterdir()) == before


def test_a_model_folder_whose_graph_is_no_file_is_none(place):
    Path("saved").mkdir()
    os.mkfifo("saved/saved_model.pb")
    assert_refused(light("inspect", "saved", cwd=place), 2, "saved", "without saved_model.pb")


WRITTEN = {  # what is written, and read as well
    "report over the recipe": ["--recipe", "r.yaml", "--report", "r.json"],
    "report over the source, by a symbolic link": ["--report", "to_model.json"],
    "report over the data, by a hard link": ["--data", "d.npz", "--report", "to_data.json"],
    "report over calibration data": ["--calibration", "d.npz", "--report", "to_data.json"],
    "report over test data": ["--test", "d.npz", "--report", "to_data.json"],
    "report over a teacher": [
        *("--data", "d.npz", "--apply", "train.distill", "--teacher", "t.keras", "--report", "to_teacher.json"),
    ],
    "report over a model of a pass": [
        *("--apply", "fuse.average_weights:models=t.keras", "--report", "to_teacher.json"),
    ],
    "report over the output": ["--report", "./o.keras.json", "--report", "o.keras.json"],
}


@pytest.mark.parametrize("case", WRITTEN)
def test_what_is_read_is_never_replaced(case, place):
    shutil.copy("m.keras", "t.keras")
    Path("r.json").symlink_to("r.yaml")
    Path("to_model.json").symlink_to("m.keras")
    Path("to_data.json").hardlink_to("d.npz")
    Path("to_teacher.json").symlink_to("t.keras")
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    done = light("compress", "m.keras", "o.keras", "--overwrite", *WRITTEN[case], cwd=place)
    assert_refused(done, 2, "different files" if "the output" in case else "is an input itself")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_a_function_is_no_folder_of_the_same_name(place):
    Path("mine").mkdir()
    Path("mine/r.json").write_text("{}")
    command = ("compress", "m.keras", "o.keras", "--overwrite", "--data", "mine:load", "--report", "mine/r.json")
    assert_refused(light(*command, cwd=place), 2, "mine:load")  # which is not there; the report may be replaced


def test_a_file_in_a_folder_that_is_read_is_an_input_too(place):
    Path("images/a").mkdir(parents=True)
    Path("images/a/x.json").write_text("{}")
    command = ("compress", "m.keras", "o.keras", "--overwrite", "--data", "images", "--report", "images/a/x.json")
    done = light(*command, cwd=place)
    assert_refused(done, 2, "images")
    assert Path("images/a/x.json").read_text() == "{}"


REPEATS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
"""A text of eight lines that stands for 100 million values."""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("passes: " + "[" * 2000 + "]" * 2000, "not valid YAML"),
        ("passes: " + "[" * 150 + "]" * 150, "deep inside of each other"),
        (REPEATS, "values"),
        ("passes:\n" + "- quantize.float16\n" * 60_000, "at most 1,000,000 are read"),
    ],
    ids=["too deep to be read", "too deep", "repeats itself", "too long"],
)
def test_a_recipe_has_limits(text, words, place):
    Path("big.yaml").write_text(text)
    assert_refused(light("compress", "m.keras", "o.keras", "--recipe", "big.yaml", cwd=place), 2, "big.yaml", words)


def test_an_image_is_decoded_by_what_starts_no_program_and_not_if_it_is_too_large(place):
    Path("images/a").mkdir(parents=True)
    Path("images/a/x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(canary.txt) (w) file\n")
    with pytest.raises(DataError, match=r"images/a/x\.png: not a readable image"):
        next(ImageSource(Path("images"), "images").read(1))
    Image.new("1", (10_000, 8_100)).save("images/a/x.png")
    with pytest.raises(DataError, match=r"images/a/x\.png: has 10,000 x 8,100 pixels, at most 80,000,000"):
        next(ImageSource(Path("images"), "images").read(1))
    assert not Path("canary.txt").exists()
