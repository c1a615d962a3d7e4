"""Entries of the cache: found by what went into them, there whole or not at all, and dropped when nobody comes back."""

import os
import time
from dataclasses import dataclass

import pytest

from kcompress import cache as kept


@dataclass(frozen=True)
class Value:
    number: float
    names: tuple[str, ...] = ()


def test_its_place_is_the_users_cache_folder_or_the_chosen_one(cache, monkeypatch, tmp_path):
    assert kept.root() == cache
    monkeypatch.delenv("KCOMPRESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept.root() == tmp_path / "kcompress"


def test_a_key_is_of_all_parts_and_their_order():
    assert kept.key("a", {"x": 1, "y": 2}) == kept.key("a", {"y": 2, "x": 1})
    assert len({kept.key("a", "b"), kept.key("b", "a"), kept.key("ab"), kept.key(["a", "b"])}) == 4


def test_an_entry_appears_whole_or_not_at_all():
    folder = kept.entry("e")
    with pytest.raises(ZeroDivisionError), kept.making(folder) as draft:
        (draft / "part").write_text("1")
        raise ZeroDivisionError
    assert list(kept.root().iterdir()) == []
    with kept.making(folder) as draft:
        (draft / "part").write_text("1")
        assert not folder.exists()
    assert [path.name for path in kept.root().iterdir()] == ["e"]
    with kept.making(folder) as draft:  # another process made the same meanwhile
        (draft / "part").write_text("2")
    assert (folder / "part").read_text() == "1"


def test_a_value_comes_back_and_one_that_is_none_is_none(cache):
    path = kept.entry("e") / "value.json"
    assert kept.read(Value, path) is None
    kept.write(path, Value(0.1, ("a", "b")))
    assert kept.read(Value, path) == Value(0.1, ("a", "b"))


def test_a_value_that_has_changed_is_dropped_with_a_warning(caplog):
    path = kept.entry("e") / "value.json"
    kept.write(path, Value(0.1, ("a", "b")))
    whole = path.read_bytes()
    for damaged in (b"", b"{", whole[:-3], whole.replace(b"0.1", b"0.2"), b"\xff\xfe" + whole, b"\n[]"):
        caplog.clear()
        path.write_bytes(damaged)
        assert kept.read(Value, path) is None
        assert not path.exists()
        assert [record.message.split(" (")[0] for record in caplog.records] == [f"{path}: is damaged"]
    kept.write(path, (1, 2))
    assert kept.read(Value, path) is None


def test_an_entry_whose_files_have_changed_is_dropped_with_a_warning(caplog):
    def damage(how):
        with kept.making(kept.entry("e")) as draft:
            (draft / "a").write_bytes(b"1234")
            (draft / "b").write_bytes(b"")
        how(kept.entry("e"))
        return kept.made("e")

    assert damage(lambda folder: None) == kept.entry("e")
    kept.drop("e")
    assert kept.made("e") is None
    assert not caplog.records
    for how in (
        lambda folder: (folder / "a").write_bytes(b"1235"),
        lambda folder: (folder / "b").unlink(),
        lambda folder: (folder / "b").write_bytes(b"x"),
        lambda folder: (folder / kept.DIGESTS).unlink(),
        lambda folder: (folder / kept.DIGESTS).write_text("{}"),
    ):
        caplog.clear()
        assert damage(how) is None
        assert not kept.entry("e").exists()
        assert "was dropped; what it held is made again" in caplog.records[-1].message


def test_a_cache_that_cannot_be_written_is_no_error(cache):
    cache.write_text("a file is where the folder should be")
    kept.write(kept.entry("e") / "value.json", Value(1.0))
    assert kept.read(Value, kept.entry("e") / "value.json") is None


def test_entries_that_nobody_came_back_to_are_dropped_when_another_is_made():
    old, used = kept.root() / "old", kept.root() / "used"
    for folder in (old, used):
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - kept.MAX_AGE_SECONDS - 60,) * 2)
    kept.entry("used")
    with kept.making(kept.entry("new")):
        pass
    assert {path.name for path in kept.root().iterdir()} == {"used", "new"}
