"""A file on which HDF5 hangs or fails is refused; one that was read once, or that we wrote, is not read again."""

import shutil
import sys

import pytest

import kcompress
from kcompress.errors import ModelError
from kcompress.formats import hdf5_process
from tests.models import dense
from tests.quick import read_as_users_do


@pytest.fixture
def looked(monkeypatch):
    """The files that were read in a child."""
    read_as_users_do(monkeypatch.setattr)
    found, run = [], hdf5_process.subprocess.run
    monkeypatch.setattr(
        hdf5_process.subprocess, "run", lambda child, **rest: found.append(child[-2]) or run(child, **rest)
    )
    return found


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_file_is_looked_through_once_until_it_changes(suffix, looked, tmp_path):
    path = tmp_path / f"m.{suffix}"
    dense().save(path)
    kcompress.inspect(path)
    kcompress.inspect(path)
    assert looked == [str(path)]
    dense().save(path)
    kcompress.inspect(path)
    assert looked == [str(path)] * 2


def test_what_was_written_here_is_not(looked, tmp_path):
    dense().save(tmp_path / "m.keras")
    kcompress.compress(tmp_path / "m.keras", tmp_path / "o.keras", passes=["quantize.float16"])
    kcompress.inspect(tmp_path / "o.keras")
    assert looked == [str(tmp_path / "m.keras")]


def test_a_signal_and_no_end_are_one_line(looked, tmp_path, monkeypatch):
    dense().save(tmp_path / "m.h5")
    monkeypatch.setattr(hdf5_process, "SECONDS", 1.0)
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    for code, words in ((crash, "signal 11"), ("while True: pass", "end of it")):
        monkeypatch.setattr(hdf5_process, "command", lambda *_, code=code: [sys.executable, "-c", code, "", ""])
        with pytest.raises(ModelError, match=words):
            kcompress.inspect(tmp_path / "m.h5")


@pytest.mark.slow
def test_an_attribute_that_hdf5_never_comes_to_the_end_of(looked, fixtures, monkeypatch, tmp_path):
    """A file that fuzzing found."""
    monkeypatch.setattr(hdf5_process, "SECONDS", 3.0)
    shutil.copy(fixtures.parent / "tests" / "hostile" / "endless.h5", tmp_path / "m.h5")
    with pytest.raises(ModelError, match="does not come to an end"):
        kcompress.inspect(tmp_path / "m.h5")
