"""Growth is measured against git HEAD, in each file's own repository; a git-lfs pointer counts as what it states."""

import os
import shutil
from pathlib import Path

import pytest

from tests.check.conftest import commit, git, refusal, run, write


def shim_git(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script named git first on PATH."""
    shim = folder / "git"
    shim.write_text(f"#!/bin/sh\n{script}\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


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
