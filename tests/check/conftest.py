"""An empty folder to work in, and what tests of the size gate do there: write files, commit them, run the gate."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from kcompress.check.gate import check
from kcompress.errors import UsageError


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
