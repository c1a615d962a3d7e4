"""A user's mistake is one line and exit code 2 (3 for safety); nothing is written and nothing is lost.

Covers: errors.py, run/preflight.py.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.models import dense, keras
from tests.shell import assert_refused, kcompress, light


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wrong files of every kind, and a right model and data."""
    place = tmp_path_factory.mktemp("bad")
    k = keras()
    model = dense()
    model.save(place / "good.keras")
    raw = (place / "good.keras").read_bytes()
    (place / "truncated.keras").write_bytes(raw[: len(raw) // 2])
    (place / "text.keras").write_text("hello")
    (place / "notes.txt").write_text("hello")
    random = np.random.default_rng(0)
    x = random.random((20, 8), np.float32)
    np.savez(place / "good.npz", x=x, y=np.arange(20) % 3)
    np.savez(place / "labels.npz", x=x, y=np.arange(20))
    np.savez(place / "values.npz", x=x, y=random.random((20, 5)))
    np.savez(place / "shape.npz", x=x[:, :5], y=np.arange(20) % 3)
    (place / "corrupt.npz").write_bytes((place / "good.npz").read_bytes()[:700])
    with zipfile.ZipFile(place / "good.keras") as good, zipfile.ZipFile(place / "bomb.keras", "w", 8) as bomb:
        for name in good.namelist():
            with bomb.open(name, "w") as member:
                member.write(good.read(name))
                if name.endswith(".h5"):
                    for _ in range(60):
                        member.write(bytes(1 << 20))
    kernel = model.get_layer("hidden").kernel
    values = np.array(kernel)
    values[1, 2] = np.nan
    kernel.assign(values)
    model.save(place / "nan.keras")
    code = k.Sequential([k.Input((4,)), k.layers.Lambda(lambda v: v * 2, name="doubled"), k.layers.Dense(2)])
    code.save(place / "lambda.keras")
    code.save(place / "lambda.h5")
    (place / "wrong_type.yaml").write_text("passes:\n  - {pass: prune.magnitude, sparsity: lots}\n")
    (place / "no_list.yaml").write_text("passes: 3\n")
    (place / "broken.json").write_text("{")
    return place


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


LIGHT = {
    "missing file": (["none.keras", "o.keras"], 2, ["none.keras", "no such file"]),
    "not a model": (["notes.txt", "o.keras"], 2, ["notes.txt", ".keras"]),
    "unknown pass": (["good.keras", "o.keras", "--apply", "prune.magnitud"], 2, ["did you mean 'prune.magnitude'?"]),
    "unknown field": (["good.keras", "o.keras", "--apply", "prune.magnitude:sparcity=0.5"], 2, ["'sparsity'?"]),
    "sparsity 1.4": (["good.keras", "o.keras", "--apply", "prune.magnitude:sparsity=1.4"], 2, ["1.4", "[0, 1)", "0.7"]),
    "unknown format": (["good.keras", "o.pb"], 2, [".pb", ".keras, .onnx, .tflite"]),
    "no suffix": (["good.keras", "o"], 2, [".keras, .onnx, .tflite"]),
    "output folder missing": (["good.keras", "none/o.keras"], 2, ["no folder none"]),
    "recipe with a wrong type": (["good.keras", "o.keras", "--recipe", "wrong_type.yaml"], 2, ["sparsity=lots"]),
    "recipe without passes": (["good.keras", "o.keras", "--recipe", "no_list.yaml"], 2, ["no_list.yaml", "passes"]),
    "recipe that is no JSON": (["good.keras", "o.keras", "--recipe", "broken.json"], 2, ["broken.json", "JSON"]),
    "recipe missing": (["good.keras", "o.keras", "--recipe", "none.yaml"], 2, ["none.yaml"]),
    "corrupt npz": (["good.keras", "o.keras", "--data", "corrupt.npz"], 2, ["corrupt.npz"]),
    "data missing": (["good.keras", "o.keras", "--data", "none.npz"], 2, ["none.npz", "no such file"]),
    "source as output": (["good.keras", "good.keras", "--overwrite"], 2, ["only read"]),
    "output exists": (["good.keras", "nan.keras"], 2, ["--overwrite"]),
    "unknown report": (["good.keras", "o.keras", "--report", "r.docx"], 2, [".json, .md"]),
    "unknown backend": (["good.keras", "o.keras", "--backend", "caffe"], 2, ["caffe", "tensorflow, jax, torch"]),
    "size that is none": (["good.keras", "o.keras", "--max-size", "big"], 2, ["big", "250KB"]),
    "drop below zero": (["good.keras", "o.keras", "--max-drop", "-1"], 2, ["-1", "[0, 100]"]),
    "latency of nothing": (["good.keras", "o.keras", "--max-latency", "0"], 2, ["--max-latency 0", "milliseconds"]),
    "MACs that are no number": (["good.keras", "o.keras", "--max-macs", "few"], 2, ["--max-macs", "few", "such as 5M"]),
    "a value left to a search": (
        ["good.keras", "o.keras", "--apply", "prune.magnitude:sparsity={search:[0.5,0.9]}"],
        2,
        ["prune.magnitude", "sparsity", "kcompress search"],
    ),
    "drop without data": (["good.keras", "o.keras", "--max-drop", "1"], 2, ["--data"]),
    "no arguments": ([], 2, ["MODEL"]),
}

HEAVY = {
    "truncated": (["truncated.keras", "o.keras"], 2, ["truncated.keras", "damaged"]),
    "not a zip": (["text.keras", "o.keras"], 2, ["text.keras", "damaged"]),
    "zip bomb": (["bomb.keras", "o.keras"], 3, ["bomb.keras", "expands to"]),
    "labels beyond the classes": (
        ["good.keras", "o.keras", "--data", "labels.npz"],
        2,
        ["label 19", "3 classes", "'head'"],
    ),
    "labels of another shape": (["good.keras", "o.keras", "--data", "values.npz"], 2, ["(5,)", "(3,)"]),
    "wrong input shape": (["good.keras", "o.keras", "--data", "shape.npz"], 2, ["(5,)", "(8,)"]),
    "NaN weights": (["nan.keras", "o.keras"], 2, ["hidden/kernel", "NaN"]),
    "unknown metric": (["good.keras", "o.keras", "--data", "good.npz", "--metric", "acuracy"], 2, ["'accuracy'?"]),
    "Lambda in .keras": (["lambda.keras", "o.keras"], 3, ["'doubled'", "Lambda", "--trust"]),
    "Lambda in .h5": (["lambda.h5", "o.keras"], 3, ["'doubled'", "Lambda", "--trust"]),
    "strict": (
        ["good.keras", "o.keras", "--strict", "--apply", "prune.magnitude:skip=nothing*"],
        2,
        ["--strict", "nothing*"],
    ),
}


@pytest.mark.parametrize("case", HEAVY)
def test_is_refused_in_one_line_and_nothing_is_written(case, folder):
    arguments, code, words = HEAVY[case]
    before = listing(folder)
    assert_refused(kcompress("compress", *arguments, cwd=folder), code, *words)
    assert listing(folder) == before


@pytest.mark.parametrize("case", LIGHT)
def test_light_mistakes_are_so_too_without_a_backend(case, folder):
    arguments, code, words = LIGHT[case]
    before = listing(folder)
    assert_refused(light("compress", *arguments, cwd=folder), code, *words)
    assert listing(folder) == before


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write to")
def test_read_only_folder_is_refused(folder):
    assert_refused(kcompress("compress", "good.keras", "/proc/o.keras", cwd=folder), 2, "/proc", "cannot be written")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["inspect", "text.keras"], 2, ["damaged"]),
        (["inspect", "none.onnx"], 2, ["no such file"]),
        (["inspect", "lambda.keras"], 3, ["Lambda"]),
        (["compare", "good.keras", "none.tflite"], 2, ["none.tflite"]),
        (["compare", "good.keras", "--test", "shape.npz"], 2, ["(5,)"]),
        (["passes", "prune.magnitud"], 2, ["did you mean"]),
        (["frobnicate"], 2, ["frobnicate"]),
        (["compress", "good.keras", "o.keras", "--frobnicate"], 2, ["--frobnicate"]),
    ],
)
def test_other_commands_refuse_in_one_line_too(arguments, code, words, folder):
    assert_refused(kcompress(*arguments, cwd=folder), code, *words)
