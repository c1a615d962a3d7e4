"""A file is measured again and held against its report; what differs is said, and nothing that it names is called."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from kcompress import compress, verify
from kcompress.api.verify import _near
from kcompress.errors import ModelError, UsageError
from kcompress.recipe import load
from kcompress.run.provenance import sha256_of
from tests.models import small_run
from tests.shell import kcompress


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with everything: source, data, teacher, artifact and report, all named from within their folder."""
    folder = small_run(tmp_path_factory.mktemp("made"), 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        passes = ["prune.magnitude:sparsity=0.5", "quantize.int8:mode=weight_only"]
        compress("m.keras", "o.tflite", passes=passes, data="d.npz", reports=["r.json"])
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edited(place, change):
    document = json.loads((place / "r.json").read_text())
    change(document)
    (place / "r.json").write_text(json.dumps(document))


def names(found):
    return {figure.name for figure in found.differences}


def test_a_report_has_what_the_artifact_came_of(place):
    document = json.loads((place / "r.json").read_text())
    assert document["source"]["sha256"] == sha256_of(place / "m.keras")
    assert document["artifact"]["sha256"] == sha256_of(place / "o.tflite")
    assert document["inputs"] == [{"use": "data", "spec": "d.npz", "sha256": sha256_of(place / "d.npz")}]
    assert document["settings"] == {"backend": "tensorflow", "seed": 0, "batch": None, "metric": None, "trust": []}
    assert document["versions"]["keras"].startswith("3.")
    (place / "again.json").write_text(json.dumps(document["recipe"]))
    assert [each.name for each in load(place / "again.json")] == ["prune.magnitude", "quantize.int8"]
    compress("m.keras", "again.tflite", recipe="again.json", data="d.npz")
    assert (place / "again.tflite").read_bytes() == (place / "o.tflite").read_bytes()


def test_an_untouched_file_is_as_reported(place):
    found = verify("r.json")
    assert (found.exit_code, found.differences, found.notes) == (0, (), ())
    assert {figure.name for figure in found.figures} >= {"artifact sha256", "bytes", "quality of the artifact"}


def test_a_changed_file_differs_in_what_has_changed(place):
    with (place / "o.tflite").open("ab") as file:
        file.write(b"\0")
    assert names(verify("r.json")) >= {"artifact sha256", "bytes"}
    compress("m.keras", "o.tflite", passes=["quantize.float16"], overwrite=True)
    found = verify("r.json")
    assert found.exit_code == 1
    assert names(found) >= {"artifact sha256", "bytes", "gzip_bytes", "nonzero", "bits_per_weight"}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda d: d["quality"].update(artifact=1.0), "quality of the artifact"),
        (lambda d: d["quality"].update(samples=99), "test samples"),
        (lambda d: d["artifact"].update(parameters=1), "parameters"),
        (lambda d: d["source"].update(sha256="0" * 64), "source sha256"),
        (lambda d: d["inputs"][0].update(sha256="0" * 64), "data sha256"),
    ],
)
def test_a_report_that_says_something_else_differs_there(change, differs, place):
    edited(place, change)
    assert names(verify("r.json")) == {differs}


def test_points_of_quality_may_differ_by_a_tolerance(place):
    edited(place, lambda d: d["quality"].update(artifact=d["quality"]["artifact"] + 0.01))
    assert names(verify("r.json")) == {"quality of the artifact"}
    assert not verify("r.json", tolerance=2).differences


def test_what_is_not_there_is_noted_and_the_rest_verified(place):
    (place / "m.keras").rename("elsewhere.keras")
    (place / "d.npz").rename("other.npz")
    found = verify("r.json")
    assert found.exit_code == 0
    assert any("--source" in note for note in found.notes) and any("--data" in note for note in found.notes)
    assert not verify("r.json", source="elsewhere.keras", data="other.npz").differences
    (place / "o.tflite").rename("moved.tflite")
    with pytest.raises(ModelError, match="give it with --artifact"):
        verify("r.json")
    assert not verify("r.json", artifact="moved.tflite").differences


def test_files_are_found_beside_the_report(place, monkeypatch):
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    found = verify("../r.json")
    assert (found.differences, found.notes) == ((), ())


def test_a_function_that_a_report_names_is_not_called(place):
    (place / "evil.py").write_text("open('canary', 'w')\ndef load(): return None")
    edited(place, lambda d: d.update(inputs=[{"use": "data", "spec": "evil:load", "sha256": None}]))
    found = verify("r.json")
    assert any("give the data with --data" in note for note in found.notes)
    assert not (place / "canary").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"artifact": 3}', "[" * 100_000, "\x00"])
def test_what_is_no_report_is_refused(text, tmp_path):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises((UsageError, ModelError), match=r"give a report that compress wrote|200 deep"):
        verify(tmp_path / "r.json")


def test_exit_codes_and_output(place):
    done = kcompress("verify", "r.json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "figures are as reported" in done.stdout
    (place / "o.tflite").write_bytes((place / "o.tflite").read_bytes() + b"\0")
    done = kcompress("verify", "r.json", "--json", cwd=place)
    assert done.returncode == 1
    assert json.loads(done.stdout)["verified"] is False


def without_times(document):
    measured = ("latency_ms", "seconds", "peak_memory_bytes")
    if isinstance(document, dict):
        return {name: without_times(value) for name, value in document.items() if name not in measured}
    return [without_times(each) for each in document] if isinstance(document, list) else document


@pytest.mark.slow
def test_the_same_gives_the_same_bytes_and_report_elsewhere(made, tmp_path):
    """In another folder, under another hash seed, with another number of threads, at another time."""
    found = []
    for number, folder in enumerate([tmp_path / "a", tmp_path / "b" / "deeper"], 1):
        folder.mkdir(parents=True)
        for name in ("m.keras", "d.npz"):
            shutil.copy(made / name, folder)
        threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "PYTHONHASHSEED")
        environment = {**os.environ, **dict.fromkeys(threads, str(number)), "KCOMPRESS_CACHE": str(folder / "cache")}
        steps = ("prune.magnitude:sparsity=0.5", "train.finetune:epochs=2", "quantize.int8")
        applied = [part for step in steps for part in ("--apply", step)]
        command = ["compress", "m.keras", "o.tflite", "--data", "d.npz", *applied, "--report", "r.json"]
        subprocess.run([sys.executable, "-m", "kcompress.cli", *command], cwd=folder, env=environment, check=True)
        report = without_times(json.loads((folder / "r.json").read_text()))
        found.append(((folder / "o.tflite").read_bytes(), report))
    assert found[0] == found[1]


def test_figures_of_quality_that_are_none_or_no_number():
    nan = float("nan")
    assert _near(None, None, 0.1) and _near(nan, nan, 0.1)
    assert not _near(None, 0.5, 0.1) and not _near(0.5, None, 0.1) and not _near(nan, 0.5, 0.1)
    assert _near(0.9, 0.9005, 0.1) and not _near(0.9, 0.902, 0.1)
    assert _near(1000, 1000.5, 0.1) and not _near(1000, 1002, 0.1)
