"""Files that go together appear whole, all of them, or none."""

import os
import subprocess
import sys

import pytest

from kcompress import files
from kcompress.errors import OutputError


def test_all_appear_at_the_end(tmp_path):
    targets = [tmp_path / "a.keras", tmp_path / "b.json"]
    with files.whole(targets) as drafts:
        for draft, target in zip(drafts, targets, strict=True):
            draft.write_text(target.name)
            assert draft.suffix == target.suffix
            assert not target.exists()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.keras": "a.keras", "b.json": "b.json"}


def test_none_does_where_anything_fails(tmp_path):
    (tmp_path / "a").write_text("before")
    with pytest.raises(ZeroDivisionError), files.whole([tmp_path / "a", tmp_path / "b"]) as drafts:
        drafts[0].write_text("after")
        raise ZeroDivisionError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "before"}


def test_what_the_file_system_refuses_is_one_line_that_names_the_file(tmp_path):
    with pytest.raises(OutputError, match=r"none/a: cannot be written \(.*\); free space or give another path"):
        files.put({tmp_path / "none" / "a": b"1"})


@pytest.mark.parametrize("length", [245, 250, 255])
def test_a_name_may_be_as_long_as_the_file_system_takes(length, tmp_path):
    target = tmp_path / f"{'n' * (length - 6)}.keras"
    files.put({target: b"1"})
    assert target.read_bytes() == b"1"


def test_drafts_of_killed_runs_are_removed_and_those_of_others_are_not(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    target, other = tmp_path / "a.keras", tmp_path / "b.keras"
    own = files.draft_of(target)
    left, others = (
        files.draft_of(path).with_name(files.draft_of(path).name.replace(f"-{os.getpid()}-", f"-{int(gone.stdout)}-"))
        for path in (target, other)
    )
    for path in (own, left, others):
        path.write_bytes(b"half")
    files.put({target: b"1"})
    assert set(tmp_path.iterdir()) == {target, own, others}


def test_two_that_write_the_same_file_at_once_each_have_a_draft_of_their_own(tmp_path):
    target = tmp_path / "a"
    with files.whole([target]) as (one,), files.whole([target]) as (other,):
        one.write_text("one, longer")
        other.write_text("other")
        assert one.read_text() == "one, longer"
    assert target.read_text() == "one, longer"  # the one that was left last
    assert list(tmp_path.iterdir()) == [target]
