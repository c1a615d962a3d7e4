"""Limits come from the command line, else from the nearest pyproject.toml that has them."""

import re
from pathlib import Path

import pytest

from tests.check.conftest import commit, configure, refusal, run, write


def test_without_a_path_or_a_limit_the_message_says_how_to_give_one() -> None:
    write("a.keras", 10)
    assert "--max-size 250KB" in refusal("a.keras")
    assert "paths under [tool.kcompress.check]" in refusal("--max-size", "1KB")


def test_a_limit_that_cannot_be_read_is_named_by_its_option() -> None:
    write("a.keras", 10)
    assert refusal("a.keras", "--max-size", "1XB").startswith("--max-size: '1XB' is not a size")
    assert refusal("a.keras", "--max-growth", "-1").startswith("--max-growth: '-1' is not a percentage")


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


@pytest.mark.parametrize("pattern", ["../other/*.keras", "a/../../*.keras", "/etc/*"])
def test_patterns_of_a_config_stay_in_its_folder(pattern: str) -> None:
    configure(f"[tool.kcompress.check]\npaths = [{pattern!r}]\nmax-size = 10")
    assert "may lead out of the folder" in refusal()


def test_a_config_that_is_too_long_or_too_deep_is_refused() -> None:
    configure("# kcompress\n" + "#" * 1_000_000)
    assert "at most 1,000,000 are read" in refusal("a.keras", "--max-size", "1KB")
    configure("kcompress = " + "[" * 20_000 + "]" * 20_000)
    assert "inside of each other" in refusal("a.keras", "--max-size", "1KB")
