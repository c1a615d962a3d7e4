"""What README says works: its commands, its recipe and its Python run as they stand there."""

import doctest
import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.shell import kcompress

README = (ROOT / "README.md").read_text()


def part(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n(.*?)<!-- end -->", README, re.DOTALL)
    assert found is not None
    return re.sub(r"```\w*\n?", "", found[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "fixtures", tmp_path / "fixtures")
    return tmp_path


@pytest.fixture
def quarter(folder: Path) -> Path:
    """The same with a quarter of the images, for what gives no figure that the README has."""
    with np.load(folder / "fixtures" / "fashion_mnist.npz") as arrays:
        less = {name: values[: len(values) // 4] for name, values in arrays.items()}
    np.savez(folder / "fixtures" / "fashion_mnist.npz", **less)
    return folder


@pytest.mark.slow
def test_commands_of_the_readme_run_in_order(quarter):
    commands = re.sub(r"\\\n\s*", " ", part("run")).strip().splitlines()
    assert len(commands) == 8
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "kcompress"
        done = kcompress(*arguments, cwd=quarter)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout.strip()
    assert {"out.keras", "out.tflite", "out.json", "out.md"} <= {path.name for path in quarter.iterdir()}


@pytest.mark.slow
def test_training_does_what_the_readme_says(quarter):
    commands = re.sub(r"\\\n\s*", " ", part("training")).strip().splitlines()
    for command, limit in zip(commands, (6.0, 6.0, 3.0), strict=True):  # points, of a short training
        done = kcompress(*shlex.split(command.replace("epochs=5", "epochs=2"))[1:], cwd=quarter)
        assert done.returncode == 0, done.stderr
        assert float(re.search(r"drop (-?[\d.]+) points", done.stdout)[1]) < limit, command


@pytest.mark.slow
def test_structured_pruning_does_what_the_readme_says(folder):
    half, dead = re.sub(r"\\\n\s*", " ", part("structured")).strip().splitlines()
    done = kcompress(*shlex.split(half)[1:], cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    drop = float(re.search(r"drop (-?[\d.]+) points", done.stdout)[1])
    told = float(re.search(r"multiply-adds of this ResNet-8 cost (\d+) points at once", README)[1])
    assert drop == pytest.approx(told, abs=3)  # of an untrained model; between processors
    assert "budget prune.structured:macs met: 0.4" in done.stdout
    done = kcompress(*shlex.split(dead)[1:], "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    before, after = json.loads(done.stdout)["passes"]
    assert after["parameters"] < before["parameters"]


@pytest.mark.slow
def test_four_bits_cost_what_the_readme_says(folder):
    (command,) = re.sub(r"\\\n\s*", " ", part("bits")).strip().splitlines()
    done = kcompress(*shlex.split(command)[1:], cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    drop = float(re.search(r"drop (-?[\d.]+) points", done.stdout)[1])
    told = float(re.search(r"the command above (-?[\d.]+)\.\n", README)[1])
    assert drop == pytest.approx(told, abs=0.5)  # a handful of the 2,000 samples, between processors
    assert "Rounded layers, the most hurt first" in done.stdout


@pytest.mark.slow
def test_several_models_reach_what_the_readme_says(folder):
    first, *others = re.sub(r"\\\n\s*", " ", part("several")).strip().splitlines()
    done = kcompress(*shlex.split(first)[1:], "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    members = [member["quality"] for member in json.loads(done.stdout)["members"]]
    found = [members[0]["source"] * 100, max(member["artifact"] for member in members) * 100]
    told = re.search(r"The three reach ([\d.]+) % together, and ResNet-8, the best of them, ([\d.]+) % alone", README)
    assert found == pytest.approx([*map(float, told.groups())], abs=0.3)  # a handful of the samples, between processors
    for command in others:
        done = kcompress(*shlex.split(command)[1:], cwd=folder)
        assert done.returncode == 0, done.stderr
    assert {"three.keras", "student.keras", "soup.keras"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_layers_can_take_what_the_readme_says(folder):
    first, second = re.sub(r"\\\n\s*", " ", part("sensitivity")).strip().splitlines()
    done = kcompress(*shlex.split(first)[1:], cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    row = next(line for line in done.stdout.splitlines() if "stem_conv " in line)
    told = float(re.search(r"with 50 % in `stem_conv` alone it loses ([\d.]+)\s+points", README)[1])
    assert float(row.split()[3].rstrip("*")) == pytest.approx(told, abs=1)  # of 512 samples, between processors
    assert {"heat.svg", "layers.html"} <= {path.name for path in folder.iterdir()}
    done = kcompress(*shlex.split(second)[1:], cwd=folder)
    effects = json.loads(done.stdout)["effects"]
    drops = {effect["layers"][0]: effect["drop"] for effect in effects if effect["value"] == 0.9}
    assert drops["block3_shortcut"] == pytest.approx(0, abs=0.5)


@pytest.mark.slow
def test_the_search_of_the_readme_meets_its_budget(quarter):
    (command,) = re.sub(r"\\\n\s*", " ", part("search")).strip().splitlines()
    done = kcompress(*shlex.split(command.replace("--trials 8", "--trials 4"))[1:], cwd=quarter)
    assert done.returncode == 0, done.stderr
    assert "budget --max-drop met" in done.stdout
    assert {"found.keras", "found.keras.recipe.yaml", "found.html"} <= {path.name for path in quarter.iterdir()}


@pytest.mark.slow
def test_recipe_of_the_readme_runs(quarter):
    (quarter / "recipe.yaml").write_text(part("recipe"))
    done = kcompress(
        *("compress", "fixtures/resnet8.keras", "o.onnx", "--data", "fixtures/fashion_mnist.npz"),
        *("--recipe", "recipe.yaml", "--max-drop", "5"),
        cwd=quarter,
    )
    assert done.returncode == 0, done.stderr
    assert "asked for by skip 'head'" in done.stdout
    assert "fits no layer" not in done.stdout


@pytest.mark.slow
def test_python_of_the_readme_runs(quarter, monkeypatch, capsys):
    monkeypatch.chdir(quarter)
    exec(part("python"), {})
    assert int(capsys.readouterr().out.split()[0]) == (quarter / "small.keras").stat().st_size


@pytest.mark.slow
def test_figures_that_the_readme_gives_are_those_that_are_measured(folder):
    found = []
    for sparsity in (0.3, 0.7):
        done = kcompress(
            *("compress", "fixtures/resnet8.keras", "o.keras", "--data", "fixtures/fashion_mnist.npz", "--overwrite"),
            *("--apply", f"prune.magnitude:sparsity={sparsity}"),
            cwd=folder,
        )
        found.append(float(re.search(r"drop (-?[\d.]+) points", done.stdout)[1]))
    low, high = map(float, re.search(r"cost this ResNet-8 ([\d.]+) points, 70 % cost it ([\d.]+)", README).groups())
    assert found == pytest.approx([low, high], abs=0.5)  # a handful of the 2,000 samples, between processors


@pytest.mark.parametrize(
    "module",
    sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "kcompress").rglob("*.py")
        if ">>>" in path.read_text() and path.name != "__init__.py"
    ),
)
def test_docstring_examples_run(module, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0
