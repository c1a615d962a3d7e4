"""Files over their limits or that grew too much are named; git tells what they were.

Covers: check/git.py.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from kcompress.check.gate import MODEL_SUFFIXES, check
from kcompress.errors import UsageError

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a git that knows who commits and nothing of the user's own settings."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "PRE_COMMIT"))]:
        monkeypatch.delenv(name)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "A Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.com")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def write(path: str | Path, size: int) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\1" * size)
    return file


def git(*arguments: str, at: str | Path = ".") -> None:
    subprocess.run(["git", *arguments], cwd=at, check=True, capture_output=True)


def commit(at: str | Path = ".") -> None:
    if not (Path(at) / ".git").exists():
        git("init", at=at)
    git("add", "--all", at=at)
    git("commit", "--message", "models", at=at)


def configure(text: str, at: str | Path = ".") -> None:
    Path(at, "pyproject.toml").write_text(text)


def run(*arguments: str) -> tuple[int, list[str]]:
    """Exit code and printed lines."""
    result = CliRunner().invoke(check, arguments, catch_exceptions=False)
    return result.exit_code, result.output.splitlines()


def refusal(*arguments: str) -> str:
    with pytest.raises(UsageError) as refused:
        run(*arguments)
    message = str(refused.value)
    assert refused.value.exit_code == 2
    assert "\n" not in message
    return message


def shim_git(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script named git first on PATH."""
    shim = folder / "git"
    shim.write_text(f"#!/bin/sh\n{script}\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


# Size


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


# Paths


def test_a_folder_is_searched_for_model_files_only_and_not_in_tool_folders() -> None:
    for number, suffix in enumerate(MODEL_SUFFIXES):
        write(f"deep/er/{number}{suffix}", 2_000)
    write("LOUD.TFLITE", 2_000)
    for other in ("notes.txt", ".git/a.keras", "deep/.venv/a.keras", "node_modules/x/a.onnx"):
        write(other, 2_000)
    code, lines = run(".", "--max-size", "1KB")
    assert code == 1
    assert [line.partition(":")[0] for line in lines] == [
        "LOUD.TFLITE",
        *(f"deep/er/{number}{suffix}" for number, suffix in enumerate(MODEL_SUFFIXES)),
    ]


def test_a_glob_finds_files_at_any_depth_but_not_in_tool_folders() -> None:
    for name in ("models/a.keras", "models/x/y/b.keras", "models/a.onnx", "models/node_modules/c.keras"):
        write(name, 2_000)
    code, lines = run("models/**/*.keras", "--max-size", "1KB")
    assert code == 1
    assert [line.partition(":")[0] for line in lines] == ["models/a.keras", "models/x/y/b.keras"]
    assert run("models/node_modules/*.keras", "--max-size", "1KB")[0] == 1


def test_a_file_whose_name_looks_like_a_pattern_is_that_file() -> None:
    write("model[1].keras", 2_000)
    write("model1.keras", 10)
    assert run("model[1].keras", "--max-size", "1KB") == (
        1,
        ["model[1].keras: 2.0 KB is over the limit of 1.0 KB"],
    )


def test_a_file_named_directly_is_checked_whatever_its_suffix() -> None:
    write("weights.bin", 2_000)
    assert run("weights.bin", "--max-size", "1KB")[0] == 1


def test_a_file_that_is_named_in_several_ways_counts_once(folder: Path) -> None:
    write("models/a.keras", 10)
    Path("link").symlink_to("models")
    names = ("models", "models/a.keras", "models/*.keras", "link/a.keras", str(folder / "models/a.keras"))
    assert run(*names, "--max-size", "1KB") == (0, ["1 file within limits"])


@pytest.mark.parametrize("path", ["absent.keras", "absent/*.keras", "empty", "", "a\nb.keras"])
def test_a_path_that_names_no_file_is_refused_and_repeated(path: str) -> None:
    write("empty/notes.txt", 10)
    assert refusal(path, "--max-size", "1KB").startswith(repr(path))


def test_an_empty_path_is_not_the_current_folder() -> None:
    write("a.keras", 10)
    assert refusal("", "--max-size", "1KB").startswith("'' is no file or folder")


def test_an_unreadable_folder_is_refused_rather_than_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    write("models/a.keras", 10)
    write("models/locked/b.keras", 10)
    scan = os.scandir

    def locked(path: str) -> object:  # chmod would not stop a test that runs as root
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert refusal("models", "--max-size", "1KB").startswith("'models/locked' cannot be read: Permission denied")


def test_without_a_path_or_a_limit_the_message_says_how_to_give_one() -> None:
    write("a.keras", 10)
    assert "--max-size 250KB" in refusal("a.keras")
    assert "paths under [tool.kcompress.check]" in refusal("--max-size", "1KB")


def test_a_limit_that_cannot_be_read_is_named_by_its_option() -> None:
    write("a.keras", 10)
    assert refusal("a.keras", "--max-size", "1XB").startswith("--max-size: '1XB' is not a size")
    assert refusal("a.keras", "--max-growth", "-1").startswith("--max-growth: '-1' is not a percentage")


# Growth


def test_growth_over_the_limit_is_one_line_and_the_exit_code_is_1() -> None:
    write("models/a.keras", 278_200)
    write("models/b.keras", 278_200)
    commit()
    write("models/a.keras", 312_400)
    assert run("models", "--max-growth", "5%") == (
        1,
        ["models/a.keras: grew 12.3% since HEAD (278.2 KB to 312.4 KB), over the limit of 5.0%"],
    )


def test_a_file_over_both_limits_has_a_line_for_each() -> None:
    write("a.keras", 1_000)
    commit()
    write("a.keras", 3_000)
    assert run("a.keras", "--max-size", "2KB", "--max-growth", "50") == (
        1,
        [
            "a.keras: 3.0 KB is over the limit of 2.0 KB",
            "a.keras: grew 200.0% since HEAD (1.0 KB to 3.0 KB), over the limit of 50.0%",
        ],
    )


@pytest.mark.parametrize(("size", "code"), [(0, 0), (999_000, 0), (1_000_000, 0), (1_011_000, 0), (1_011_001, 1)])
def test_growth_is_compared_exactly_and_shrinking_passes(size: int, code: int) -> None:
    write("a.keras", 1_000_000)
    commit()
    write("a.keras", size)
    assert run("a.keras", "--max-growth", "1.1%")[0] == code


def test_growth_is_measured_against_head_and_not_against_what_is_staged() -> None:
    write("a.keras", 1_000)
    commit()
    write("a.keras", 2_000)
    git("add", "a.keras")
    assert run("a.keras", "--max-growth", "5%")[0] == 1


def test_a_file_that_head_does_not_have_is_checked_for_size_only_and_the_summary_says_so() -> None:
    write("old.keras", 1_000)
    Path("emptied.keras").touch()
    commit()
    write("new.keras", 2_000)
    write("emptied.keras", 2_000)
    assert run(".", "--max-growth", "0%") == (
        0,
        ["3 files within limits; 2 of them not in HEAD, so growth was not measured"],
    )
    assert run(".", "--max-growth", "0%", "--max-size", "1KB")[0] == 1


@pytest.mark.parametrize("repository", ["none", "no commit yet", "a .git folder that is no repository"])
def test_without_a_head_there_is_no_growth_to_measure(repository: str) -> None:
    write("a.keras", 1_000)
    if repository == "no commit yet":
        git("init")
        git("add", "a.keras")
    elif repository != "none":
        Path(".git").mkdir()
    assert run("a.keras", "--max-growth", "0%") == (
        0,
        ["1 file within limits; 1 of them not in HEAD, so growth was not measured"],
    )


def test_growth_is_found_from_any_folder_in_each_file_s_own_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "one/inner"):
        write(f"{name}/models/a b é.keras", 1_000)
        commit(name)
        write(f"{name}/models/a b é.keras", 2_000)
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    code, lines = run("../one", "../two", "--max-growth", "5%")
    assert code == 1
    assert [line.partition(":")[0] for line in lines] == [
        "../one/inner/models/a b é.keras",
        "../one/models/a b é.keras",
        "../two/models/a b é.keras",
    ]


def test_the_repository_that_a_hook_inherits_does_not_replace_the_file_s_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("one", 1_000), ("two", 9_000)):
        write(f"{name}/a.keras", size)
        commit(name)
    write("one/a.keras", 2_000)
    monkeypatch.setenv("GIT_DIR", str(folder / "two/.git"))
    assert run("one/a.keras", "--max-growth", "5%")[0] == 1


def test_many_files_take_one_git_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        write(f"{number}.keras", 2_000 + number)
    commit()
    write("7.keras", 9_000)
    shim_git(tmp_path, monkeypatch, f'echo run >> "{tmp_path}/calls"\nexec {shutil.which("git")} "$@"')
    assert run(".", "--max-growth", "5%") == (
        1,
        ["7.keras: grew 348.4% since HEAD (2.0 KB to 9.0 KB), over the limit of 5.0%"],
    )
    assert (tmp_path / "calls").read_text() == "run\n"


def test_git_is_needed_for_growth_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.keras", 1_000)
    commit()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run("a.keras", "--max-size", "1KB")[0] == 0
    assert "needs git" in refusal("a.keras", "--max-growth", "5%")


def test_what_git_complains_of_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.keras", 1_000)
    commit()
    shim_git(tmp_path, monkeypatch, 'echo "fatal: detected dubious ownership" >&2; echo more >&2; exit 128')
    assert "(fatal: detected dubious ownership)" in refusal("a.keras", "--max-growth", "5%")


def test_a_name_with_a_line_break_does_not_shift_what_git_answers_for_others() -> None:
    for name in ("a.keras", "b\na.keras", "c.keras"):
        write(name, 2_000)
    commit()
    write("c.keras", 4_000)
    assert run(".", "--max-growth", "5%") == (
        1,
        ["c.keras: grew 100.0% since HEAD (2.0 KB to 4.0 KB), over the limit of 5.0%"],
    )


# git-lfs


def pointer(size: int) -> str:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize {size}\n"


def test_a_pointer_at_head_counts_as_the_size_it_states() -> None:
    sizes = {"a.keras": 10_000, "b.keras": 20_000, "c.keras": 20_000}
    for name, size in sizes.items():
        Path(name).write_text(pointer(size))
    write("small.keras", 500)
    commit()
    for name in sizes:
        write(name, 20_000)
    write("small.keras", 750)
    assert run(".", "--max-growth", "5%") == (
        1,
        [
            "a.keras: grew 100.0% since HEAD (10.0 KB to 20.0 KB), over the limit of 5.0%",
            "small.keras: grew 50.0% since HEAD (500 B to 750 B), over the limit of 5.0%",
        ],
    )


def test_a_pointer_that_was_not_checked_out_counts_as_the_size_it_states() -> None:
    Path("a.keras").write_text(pointer(10_000))
    assert run("a.keras", "--max-size", "1KB") == (1, ["a.keras: 10.0 KB is over the limit of 1.0 KB"])
    assert run("a.keras", "--max-size", "10KB")[0] == 0


# pyproject.toml

LAYERED = """
[tool.kcompress.check]
paths = ["models/**/*.keras", "*.onnx"]
max-size = "1KB"
max-growth = 5

[[tool.kcompress.check.limits]]
paths = "models/big/*.keras"
max-size = "2MB"

[[tool.kcompress.check.limits]]
paths = ["models/**/*.keras"]
max-size = 3000
"""


def test_without_a_path_the_globs_and_limits_of_pyproject_apply_from_any_folder_below_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(LAYERED)
    for name in ("models/big/a.keras", "models/b.keras", "c.onnx", "models/ignored.onnx"):
        write(name, 4_000)
    expected = ["models/b.keras: 4.0 KB is over the limit of 3.0 KB", "c.onnx: 4.0 KB is over the limit of 1.0 KB"]
    assert run() == (1, expected)
    monkeypatch.chdir("models/big")
    assert run() == (1, [expected[0].replace("models/", "../"), expected[1].replace("c.onnx", "../../c.onnx")])


def test_the_first_glob_that_matches_a_file_sets_its_size_and_leaves_the_default_growth() -> None:
    configure(LAYERED)
    write("models/big/a.keras", 10_000)
    commit()
    write("models/big/a.keras", 20_000)
    assert run() == (
        1,
        ["models/big/a.keras: grew 100.0% since HEAD (10.0 KB to 20.0 KB), over the limit of 5.0%"],
    )


def test_the_limits_of_pyproject_apply_to_files_that_are_given(folder: Path) -> None:
    configure(LAYERED)
    for name in ("models/big/a.keras", "models/b.keras", "other/c.keras"):
        write(name, 4_000)
    expected = [
        "models/b.keras: 4.0 KB is over the limit of 3.0 KB",
        "other/c.keras: 4.0 KB is over the limit of 1.0 KB",
    ]
    assert run("models/big/a.keras", "models/b.keras", "other/c.keras") == (1, expected)
    assert run(str(folder / "models/b.keras")) == (1, [f"{folder.as_posix()}/{expected[0]}"])


def test_an_option_replaces_all_limits_of_its_kind_in_pyproject_and_leaves_the_other_kind() -> None:
    configure(LAYERED)
    write("models/big/a.keras", 4_000)
    write("c.onnx", 4_000)
    commit()
    write("c.onnx", 4_500)
    assert run("--max-size", "4100") == (
        1,
        [
            "c.onnx: 4.5 KB is over the limit of 4.1 KB",
            "c.onnx: grew 12.5% since HEAD (4.0 KB to 4.5 KB), over the limit of 5.0%",
        ],
    )
    assert run("--max-size", "4100", "--max-growth", "20%") == (1, ["c.onnx: 4.5 KB is over the limit of 4.1 KB"])


@pytest.mark.parametrize(
    "pattern",
    ["*.keras", "models/*", "models/*.keras", "**/*.keras", "models/**/*.keras", "models/**/b/*", "**/[ab].*"],
)
def test_a_glob_means_the_same_files_in_paths_and_in_limits(pattern: str) -> None:
    names = ["a.keras", "models/b.keras", "models/x/c.keras", "models/x/b/d.onnx", "models/b/e.keras"]
    for name in names:
        write(name, 2_000)
    everything = "[tool.kcompress.check]\nmax-size = '1MB'\npaths = "
    configure(everything + f"'{pattern}'")
    _, by_paths = run("--max-size", "1KB")
    configure(everything + f"'**/*.*'\n[[tool.kcompress.check.limits]]\npaths = '{pattern}'\nmax-size = '1KB'")
    _, by_limits = run(*names)
    assert by_paths
    assert len(by_paths) < len(names)
    assert sorted(by_limits) == sorted(by_paths)


def test_the_nearest_pyproject_with_the_table_wins_and_others_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    write("in/ner/most/a.keras", 2_000)
    configure("[tool.kcompress.check]\nmax-size = '1KB'")
    configure("[tool.kcompress.check]\nmax-size = '3KB'", at="in")
    configure("[project]\nname = 'uses-kcompress'", at="in/ner")
    configure("no TOML at all", at="in/ner/most")
    monkeypatch.chdir("in/ner/most")
    assert run("a.keras")[0] == 0
    configure("[tool.kcompress.check]\nmax-size = '1500'", at="../..")
    assert run("a.keras") == (1, ["a.keras: 2.0 KB is over the limit of 1.5 KB"])


def test_a_file_that_several_globs_match_counts_once() -> None:
    configure("[tool.kcompress.check]\npaths = ['*.keras', 'a.*']\nmax-size = 9")
    write("a.keras", 9)
    assert run() == (0, ["1 file within limits"])


def test_globs_in_pyproject_may_match_nothing() -> None:
    configure(LAYERED)
    assert run() == (0, ["0 files within limits"])


def test_a_file_that_no_limit_covers_is_counted_in_the_summary() -> None:
    configure("[tool.kcompress.check.limits]\npaths = 'models/*'\nmax-size = '1KB'")
    write("models/a.keras", 10)
    write("b.keras", 2_000)
    assert run(".") == (0, ["2 files within limits; 1 of them without a limit"])
    write("models/a.keras", 2_000)
    assert run(".")[0] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "max_size = '1KB'",
            r"pyproject.toml: \[tool.kcompress.check\] has an unknown key 'max_size'; did you mean 'max-size'",
        ),
        ("zebra = 1", "unknown key 'zebra'; use paths, max-size, max-growth, limits"),
        ("max-size = '1XB'", r"\[tool.kcompress.check\]: max-size: '1XB' is not a size"),
        ("max-size = true", "max-size: 'True' is not a size"),
        ("max-growth = -1", "max-growth: '-1' is not a percentage"),
        ("paths = 3", "paths is 3; give one or more patterns"),
        ("paths = []", "give one or more patterns"),
        ("limits = 3", r"\[\[tool.kcompress.check.limits\]\] number 1 is 3; it must be a table"),
        ("limits = [{max-size = 9}]", "number 1: paths is None; give one or more patterns"),
        (
            "limits = [{paths = '*', max-size = 9}, {path = '*'}]",
            "number 2 has an unknown key 'path'; did you mean 'paths'",
        ),
        ("paths = [", "pyproject.toml' cannot be read: "),
    ],
)
def test_a_mistake_in_pyproject_is_named_with_its_place_and_the_way_out(text: str, message: str) -> None:
    write("a.keras", 10)
    configure(f"[tool.kcompress.check]\n{text}")
    assert re.search(message, refusal("a.keras", "--max-growth", "5"))


# The process, and the hook


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment)


def test_the_check_imports_nothing_but_the_standard_library_and_click() -> None:
    code = "import sys, click; before = set(sys.modules); import kcompress.check; print(*set(sys.modules) - before)"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    brought = {name.partition(".")[0] for name in done.stdout.split()}
    assert "kcompress" in brought
    assert brought - {"kcompress"} <= sys.stdlib_module_names
    assert {name for name in done.stdout.split() if name.startswith("kcompress")} <= {
        "kcompress",
        "kcompress.check",
        "kcompress.errors",
        "kcompress.check.git",
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
def test_the_published_hook_stops_a_commit_that_grows_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "cache"))
    project = clone_of_the_project(tmp_path / "project")
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


def clone_of_the_project(place: Path) -> Path:
    """A repository of what the working tree holds now, committed or not, under the tag v0."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=PROJECT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in names:
        if name and (PROJECT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, place / name)
    commit(place)
    git("tag", "v0", at=place)
    return place
