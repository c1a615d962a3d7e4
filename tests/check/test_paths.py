"""Files, folders and patterns name the files to check, each once; what names none is refused."""

import glob
import itertools
import os
from pathlib import Path

import pytest

from kcompress.check.paths import MODEL_SUFFIXES, glob_files, matches
from tests.check.conftest import refusal, run, write


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


def test_patterns_find_what_pythons_glob_finds() -> None:
    names = (
        "a.keras",
        "x/a.keras",
        "x/.b.keras",
        "x/y/c.keras",
        ".h/a.keras",
        "x/.h/d.keras",
        "x/y/z/c.onnx",
        "x/e[1]/f",
    )
    for name in names:
        write(name, 10)
    parts = ("**", "*", "x", "?", "*.keras", ".*", "[xy]", "a.keras", "y")
    for pattern in ("/".join(chosen) for length in (1, 2, 3) for chosen in itertools.product(parts, repeat=length)):
        if not pattern.endswith("**"):  # which there names folders
            found = {os.path.normpath(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file()}  # noqa: PTH207
            assert set(glob_files(pattern)) == found, pattern


def test_links_in_a_circle_and_many_stars_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder is looked through at most once for each place in the pattern."""
    write("/".join(["d"] * 30) + "/a.keras", 10)
    for number in range(5):
        Path(f"d/up{number}").symlink_to("..")
        Path(f"d/self{number}").symlink_to(".")
    looked = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(path) or scan(path))
    assert glob_files("**/" * 9 + "*.keras") == ["/".join(["d"] * 30) + "/a.keras"]
    assert len(looked) < 31 * 11
    looked.clear()
    assert glob_files("*/" * 30 + "*.keras") == ["/".join(["d"] * 30) + "/a.keras"]
    assert len(looked) < 31 * 31


def test_many_stars_match_a_long_path_in_no_time() -> None:
    assert not matches(("a",) * 200, ("**", "b") * 20)
    assert matches(("a",) * 200 + ("b",), ("**",) * 20 + ("b",))


def test_what_is_no_file_is_not_checked() -> None:
    write("models/a.keras", 10)
    os.mkfifo("models/b.keras")
    for path in ("models", "models/*.keras"):
        assert run(path, "--max-size", "1KB") == (0, ["1 file within limits"])
    assert "is no file or folder" in refusal("models/b.keras", "--max-size", "1KB")
