"""What a killed run leaves behind is removed by the next one; what another run still writes is not."""

import subprocess
import sys
import tempfile

import pytest

from kcompress import leftovers


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return int(done.stdout)


def named(process, host=None, number=0):
    return f"kcompress-{host or leftovers._host()}-{process}-{number}"


def test_a_mark_is_never_the_same():
    assert len({leftovers.mark() for _ in range(100)}) == 100
    assert leftovers.MARK.fullmatch(leftovers.mark())


def test_only_what_a_process_left_that_is_gone_is_removed(tmp_path, gone):
    names = [
        named(gone),
        f".x-{named(gone)}.partial.keras",
        named(1),
        leftovers.mark(),
        named(gone, "000000"),
        "kcompress",
    ]
    for name in names:
        (tmp_path / name).write_text("")
    folder = tmp_path / named(gone, number=7)
    folder.mkdir()
    (folder / "weights").write_text("")
    leftovers.remove(tmp_path, "*")
    assert {path.name for path in tmp_path.iterdir()} == set(names[2:])


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path, gone):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("")
    (tmp_path / named(gone)).symlink_to("kept")
    leftovers.remove(tmp_path, "kcompress-*")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


def test_a_temporary_folder_goes_and_takes_those_of_killed_runs_with_it(tmp_path, gone, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{named(gone)}-abc").mkdir()
    with leftovers.temporary_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())
