"""Files whose names are no UTF-8, which Linux allows: every format is read, run and written under them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import kcompress
from kcompress.errors import KCompressError
from tests.models import batch_for, dense
from tests.shell import kcompress as command

ODD = os.fsdecode(b"\xff")


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / f"folder{ODD}"
    folder.mkdir()
    monkeypatch.chdir(folder)
    dense().save("m.keras")
    Path("m.keras").rename(f"m{ODD}.keras")
    np.savez("d.npz", x=batch_for(dense(), 40)["x"], y=np.arange(40) % 3)
    Path("d.npz").rename(f"d{ODD}.npz")
    return folder


@pytest.mark.parametrize("suffix", ["keras", "tflite", "onnx"])
def test_files_are_written_measured_and_verified(suffix, place):
    output, report = f"o{ODD}.{suffix}", f"r{ODD}.json"
    kcompress.compress(
        f"m{ODD}.keras",
        output,
        passes=["quantize.int8:mode=weight_only"],
        data=f"d{ODD}.npz",
        reports=[report, f"r{ODD}.md", f"r{ODD}.html"],
    )
    assert kcompress.inspect(output).description.parameters == dense().count_params()
    assert not kcompress.verify(report).differences


def test_the_other_formats_are_read(place):
    model = dense()
    model.save("m.h5")
    Path("m.h5").rename(f"m{ODD}.h5")
    model.export("saved", format="tf_saved_model", verbose=False)
    Path("saved").rename(f"saved{ODD}")
    for name in (f"m{ODD}.h5", f"saved{ODD}"):
        assert kcompress.inspect(name).description.parameters == model.count_params()
    found = kcompress.compare([f"m{ODD}.keras", f"saved{ODD}"], test=f"d{ODD}.npz")
    assert found[1].quality.agreement == 1


def test_images_in_such_folders_are_read(place):
    from PIL import Image

    from kcompress.data.images import ImageSource

    for label in ("a", f"b{ODD}"):
        Path("images", label).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(Path("images", label, f"1{ODD}.png"))
    assert ImageSource(Path("images"), "images").samples == 2


def test_what_is_printed_is_printable(place):
    done = command("inspect", f"m{ODD}.keras", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == f"m{ODD}.keras"
    done = command("inspect", f"none{ODD}.keras", cwd=place)
    assert (done.returncode, done.stderr.split(":")[1]) == (2, r" none\udcff.keras")


LONG = f"{'n' * 250}.keras"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"output": LONG}, "takes 256 bytes, at most 255"),
        ({"reports": [LONG.replace("keras", "json")]}, None),
        ({"reports": [f"é{LONG}".replace("keras", "json")]}, "takes 257 bytes"),
        ({"output": "o\0.keras"}, "cannot hold the character NUL"),
        ({"reports": ["r\0.json"]}, "cannot hold the character NUL"),
        ({"model": "m\0.keras"}, "no such file"),
        ({"model": LONG}, "no such file"),
        ({"data": "d\0.npz"}, "no such file"),
        ({"calibration": "\0"}, "no such file"),
        ({"recipe": "r\0.yaml"}, "no such file"),
        ({"passes": ["fuse.average_weights:models=x\0.keras"]}, "no such file"),
        ({"trust": ["a\0"]}, "cannot be imported"),
    ],
)
def test_a_path_that_cannot_be_is_one_line(change, words, place):
    given = {"model": f"m{ODD}.keras", "output": "o.keras", "passes": ["quantize.float16"], **change}
    if words is None:  # the longest name that there can be
        assert kcompress.compress(**given).exit_code == 0
        return
    with pytest.raises(KCompressError, match=words):
        kcompress.compress(**given)
    assert not Path("o.keras").exists()


def test_the_recipe_of_a_search_has_a_name_that_can_be():
    from kcompress.api.search import _recipe_beside

    assert _recipe_beside(Path("a/o.keras")) == Path("a/o.keras.recipe.yaml")
    for output in (Path(LONG[1:]), Path("é" * 124 + ".keras")):
        assert len(os.fsencode(_recipe_beside(output).name)) <= 255
