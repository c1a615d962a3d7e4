"""Files over their limits are named, one line for each limit; the command and the hook end with the same verdict."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kcompress.check.paths import MODEL_SUFFIXES
from tests.check.conftest import commit, configure, git, run, write
from tests.sweep import some

PROJECT = Path(__file__).parents[2]


def test_files_up_to_the_limit_pass_with_one_line() -> None:
    for name in ("a.keras", "b.tflite", "c.onnx"):
        write(name, 250_000)
    assert run("a.keras", "b.tflite", "c.onnx", "--max-size", "250KB") == (0, ["3 files within limits"])


def test_each_file_over_the_limit_is_one_line_and_the_exit_code_is_1() -> None:
    write("models/a.keras", 312_400)
    write("models/b.keras", 250_001)
    write("models/c.keras", 100)
    assert run("models", "--max-size", "250KB") == (
        1,
        [
            "models/a.keras: 312.4 KB is over the limit of 250.0 KB",
            "models/b.keras: 250001 B is over the limit of 250000 B",
        ],
    )


def test_a_kib_limit_allows_what_a_kb_limit_does_not() -> None:
    write("a.keras", 1_024)
    assert run("a.keras", "--max-size", "1KiB")[0] == 0
    assert run("a.keras", "--max-size", "1KB")[0] == 1


def test_a_path_with_a_line_break_is_still_one_line() -> None:
    write("a\nb.keras", 2_000)
    assert run(".", "--max-size", "1KB") == (1, [r"a\nb.keras: 2.0 KB is over the limit of 1.0 KB"])


def test_a_linked_file_counts_as_what_it_points_to_now_and_at_head() -> None:
    write("store/a.bin", 2_000)
    Path("a.keras").symlink_to("store/a.bin")
    assert run("a.keras", "--max-size", "1KB")[0] == 1
    commit()
    assert run("a.keras", "--max-growth", "0%") == (0, ["1 file within limits"])
    write("store/a.bin", 3_000)
    assert run("a.keras", "--max-growth", "49%")[0] == 1


# The process, and the hook


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment)


def test_the_check_imports_nothing_but_the_standard_library_and_click() -> None:
    code = (
        "import sys, click; before = set(sys.modules); import kcompress.check.gate; print(*set(sys.modules) - before)"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    brought = {name.partition(".")[0] for name in done.stdout.split()}
    assert "kcompress" in brought
    assert brought - {"kcompress"} <= sys.stdlib_module_names
    own = {name for name in done.stdout.split() if name.startswith("kcompress")}
    assert {name for name in own if not name.startswith("kcompress.check")} <= {
        "kcompress",
        "kcompress.errors",
        "kcompress.sizes",
    }


def test_the_command_line_reports_violations_on_stdout_and_bad_input_on_stderr() -> None:
    write("a.keras", 2_000)
    done = python("-m", "kcompress.cli", "check", "a.keras", "--max-size", "1KB")
    assert (done.returncode, done.stdout, done.stderr) == (1, "a.keras: 2.0 KB is over the limit of 1.0 KB\n", "")
    done = python("-m", "kcompress.cli", "check", "b.keras", "--max-size", "1KB")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"Error: 'b\.keras' is no file or folder; .*\n", done.stderr)


def test_the_command_line_checks_without_importing_any_library_that_models_need() -> None:
    write("a.keras", 10)
    code = (
        "import sys; from kcompress.cli import main; sys.argv = 'kcompress check a.keras --max-size 1KB'.split()\n"
        "try: main()\n"
        "finally: print(*{'keras', 'numpy', 'tensorflow', 'jax', 'pydantic', 'h5py'} & set(sys.modules))"
    )
    assert python("-c", code).stdout == "1 file within limits\n\n"


def test_the_published_hook_takes_every_model_file() -> None:
    (hook,) = yaml.safe_load((PROJECT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "kcompress check"
    for suffix in MODEL_SUFFIXES:
        assert re.search(hook["files"], f"models/a{suffix}")
        assert re.search(hook["files"], f"A{suffix.upper()}")
    assert not re.search(hook["files"], "a.keras.txt")


@pytest.mark.slow
@pytest.mark.parametrize("language", some(["system", "python"], lambda language: language == "system"))
def test_the_published_hook_stops_a_commit_that_grows_a_model(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `python`, as published, pre-commit installs kcompress anew; else it is the one of this environment."""
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    project = clone_of_the_project(tmp_path / "project", language)
    configure("[tool.kcompress.check]\nmax-size = '250KB'\nmax-growth = '5%'")
    hooks = {"repos": [{"repo": str(project), "rev": "v0", "hooks": [{"id": "kcompress-check"}]}]}
    Path(".pre-commit-config.yaml").write_text(yaml.safe_dump(hooks))
    write("models/a.keras", 100_000)
    write("models/b.tflite", 100_000)
    commit()

    installed = python("-m", "pre_commit", "install", "--install-hooks")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    done = python("-m", "pre_commit", "run", "--all-files", "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 files within limits" in done.stdout

    write("models/a.keras", 110_000)
    write("models/b.tflite", 300_000)
    write("models/c.onnx", 260_000)
    git("add", "--all")
    stopped = subprocess.run(["git", "commit", "--message", "more"], capture_output=True, text=True, check=False)
    assert stopped.returncode == 1
    for line in (
        "models/a.keras: grew 10.0% since HEAD (100.0 KB to 110.0 KB), over the limit of 5.0%",
        "models/b.tflite: 300.0 KB is over the limit of 250.0 KB",
        "models/b.tflite: grew 200.0% since HEAD (100.0 KB to 300.0 KB), over the limit of 5.0%",
        "models/c.onnx: 260.0 KB is over the limit of 250.0 KB",
    ):
        assert line in stopped.stderr.splitlines()


def clone_of_the_project(place: Path, language: str) -> Path:
    """A repository of what the working tree holds now, committed or not, under the tag v0; its hook's language."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=PROJECT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in names:
        if name and (PROJECT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, place / name)
    hooks = place / ".pre-commit-hooks.yaml"
    assert "language: python\n" in hooks.read_text()
    hooks.write_text(hooks.read_text().replace("language: python\n", f"language: {language}\n"))
    commit(place)
    git("tag", "v0", at=place)
    return place
