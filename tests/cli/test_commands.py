"""Commands from the shell on the fixtures: what they print, what they import, how they work together.

Covers: api/compare.py, api/inspect.py, cli/__main__.py, cli/commands/check.py, cli/commands/compare.py,
cli/commands/verify.py, cli/commands/demo.py, cli/commands/inspect.py, cli/commands/passes.py,
cli/demonstration.py, cli/options.py, cli/program.py.
"""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from kcompress.cli import demonstration
from kcompress.progress import Hooks
from tests.models import dense
from tests.shell import assert_refused, kcompress

HEAVY = ("keras", "tensorflow", "jax", "torch", "onnx", "onnx_ir", "onnxruntime", "optuna", "matplotlib")


@pytest.mark.parametrize("arguments", [["--help"], ["passes"], ["passes", "prune.magnitude"], ["passes", "--schema"]])
def test_answers_at_once_without_a_backend(arguments):
    program = (
        "import sys; from kcompress import cli\n"
        f"sys.argv = ['kcompress', *{arguments!r}]\n"
        "try: cli.main()\n"
        f"except SystemExit as e: print([e.code, sorted(set({HEAVY!r}) & set(sys.modules))], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[0, []]"
    assert done.stdout.strip()


def test_importing_the_package_imports_no_backend():
    program = (
        "import sys, kcompress; dir(kcompress); kcompress.PruneMagnitude\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_has_help():
    names = kcompress("--help").stdout
    for command in ("compress", "sensitivity", "ensemble", "inspect", "compare", "verify", "passes", "check", "demo"):
        assert command in names
        assert kcompress(command, "--help").returncode == 0


@pytest.mark.slow
def test_demo_writes_smaller_files_and_one_table_of_all_and_can_be_run_again(tmp_path, fixtures, monkeypatch, capsys):
    """Two of its files, on less data and with less training than users get, whom `scripts/demo.sh` stands for."""
    jobs = demonstration.JOBS
    assert [step for passes in jobs.values() for step in passes].count("train.distill:epochs=3") == 1
    names = ("half.tflite", "int8.onnx")
    less = {name: [step.replace("epochs=3", "steps=2") for step in jobs[name]] for name in names}
    monkeypatch.setattr(demonstration, "JOBS", less)
    (tmp_path / "files").mkdir()
    with np.load(fixtures / "fashion_mnist.npz") as arrays:
        np.savez(tmp_path / "files" / "fashion_mnist.npz", **{name: values[:200] for name, values in arrays.items()})
    shutil.copy(fixtures / "resnet8.keras", tmp_path / "files")
    monkeypatch.setattr(demonstration, "_files", lambda: tmp_path / "files")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "int8.onnx").write_text("of an earlier demo")
    assert demonstration.run(tmp_path / "d", Hooks()) == 0
    printed = capsys.readouterr().out
    source = (tmp_path / "d" / "resnet8.keras").stat().st_size
    for name in names:
        assert (tmp_path / "d" / name).stat().st_size < source / 4
        assert printed.count(f"{name} ") >= 2
    assert printed.count("Compared with") == 1


def test_inspect_and_compare_as_json(fixtures, tmp_path):
    source = fixtures / "lenet5.h5"
    document = json.loads(kcompress("inspect", source, "--json").stdout)
    assert (document["format"], document["parameters"], document["macs"]) == ("h5", 431080, 2293000)
    done = kcompress("compress", source, tmp_path / "o.tflite", "--quiet")
    assert done.returncode == 0, done.stderr
    done = kcompress("compare", source, tmp_path / "o.tflite", "--test", fixtures / "fashion_mnist.npz", "--json")
    models = json.loads(done.stdout)["models"]
    assert [m["format"] for m in models] == ["h5", "tflite"]
    assert models[1]["quality"]["agreement"] == 1
    assert models[1]["quality"]["source"] >= 0.88


@pytest.mark.parametrize(("name", "least"), [("resnet8.keras", 0.88), ("mobilenet.keras", 0.86)])
def test_fixture_models_are_as_good_as_promised(name, least, fixtures, tmp_path):
    import kcompress as package

    report = package.compress(fixtures / name, tmp_path / "o.keras", data=str(fixtures / "fashion_mnist.npz"))
    assert report.quality.samples == 2000
    assert report.quality.source >= least
    assert report.quality.drop == 0


def test_fixtures_are_small_and_their_pixels_are_bytes(fixtures):
    assert sum(path.stat().st_size for path in fixtures.iterdir()) <= 8_000_000
    with np.load(fixtures / "fashion_mnist.npz") as data:
        assert {key: data[key].dtype for key in data} == dict.fromkeys(
            ("x_train", "y_train", "x_test", "y_test"), np.dtype("uint8")
        )


def test_pruned_lenet_is_at_most_a_quarter_of_its_file(fixtures, tmp_path):
    import kcompress as package

    source = fixtures / "lenet300.keras"
    report = package.compress(source, tmp_path / "o.keras", passes=["prune.magnitude:sparsity=0.8"])
    assert report.artifact.bytes <= source.stat().st_size / 4


def test_a_missing_extra_is_named(tmp_path):
    dense().save(tmp_path / "s.keras")
    program = (
        "import sys\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('ai_edge_litert', 'onnxruntime'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('ai_edge_litert', 'onnxruntime') else real(name, *a)\n"
        "from kcompress import cli; cli.main()"
    )
    for suffix in ("tflite", "onnx"):
        done = subprocess.run(
            [sys.executable, "-c", program, "compress", "s.keras", f"o.{suffix}"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert_refused(done, 2, f"o.{suffix}", "pip install 'kcompress[tensorflow]'")
