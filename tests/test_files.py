"""Files that go together appear whole, all of them, or none."""

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
