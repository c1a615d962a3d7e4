"""Whatever ends a run: the source is as it was, the output is whole or not there, and a rerun gives the same bytes."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from kcompress import compress, inspect
from kcompress.errors import OutputError
from kcompress.progress import Hooks
from tests.models import dense, small_run
from tests.shell import assert_refused, kcompress, started

STEPS = ("prune.magnitude:sparsity=0.5", "quantize.int8:mode=weight_only")
TRAINING = (STEPS[0], "train.finetune:epochs=3,validation=0.1,batch=16", STEPS[1])
KILLS, TERMINATIONS = 20, 6


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("inputs"), 400)


def command(inputs, folder):
    steps = [part for step in STEPS for part in ("--apply", step)]
    return ["compress", inputs / "m.keras", folder / "o.keras", "--data", inputs / "d.npz", *steps]


class Place:
    """A folder for outputs, and a cache of its own."""

    def __init__(self, inputs, folder):
        self.inputs, self.out, self.cache = inputs, folder / "out", folder / "cache"
        self.environment = {"KCOMPRESS_CACHE": str(self.cache)}
        self.processes = []
        self.out.mkdir(parents=True)
        self.sources = {path: path.read_bytes() for path in inputs.iterdir()}

    def run(self):
        done = kcompress(*command(self.inputs, self.out), **self.environment)
        assert done.returncode == 0, done.stderr
        return done

    def interrupted(self, seconds, sent, folder):
        """Run, and send a signal after so many seconds; the end of a run may come first."""
        with started(
            *command(self.inputs, self.out), out=folder / "o", err=folder / "e", **self.environment
        ) as process:
            self.processes.append(process)
            time.sleep(seconds)
            try:
                os.kill(process, sent)
            except ProcessLookupError:
                return
        assert "Traceback" not in (folder / "e").read_text()

    def check(self, whole):
        """What must hold at any moment after a run has ended in any way."""
        assert {path: path.read_bytes() for path in self.inputs.iterdir()} == self.sources
        assert not (self.out / "o.keras").exists() or (self.out / "o.keras").read_bytes() == whole

    def rerun(self, whole):
        """The bytes of an unbroken run, whether or not the one before came to its end."""
        (self.out / "o.keras").unlink(missing_ok=True)
        self.run()
        assert (self.out / "o.keras").read_bytes() == whole

    def left(self):
        """What runs that were ended have left behind."""
        ours = [path for path in self.out.iterdir() if path.name != "o.keras"]
        temporary = Path(tempfile.gettempdir()).glob("kcompress-*")
        return [*ours, *(path for path in temporary if any(f"-{process}-" in path.name for process in self.processes))]


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """The bytes of a run that nothing ended, and how long it takes."""
    place = Place(inputs, tmp_path_factory.mktemp("whole"))
    place.run()
    (place.out / "o.keras").unlink()
    began = time.monotonic()
    place.run()
    return (place.out / "o.keras").read_bytes(), time.monotonic() - began


@pytest.mark.slow
def test_a_run_may_be_killed_at_any_moment(inputs, whole, tmp_path):
    content, seconds = whole
    random.seed(18)
    place = Place(inputs, tmp_path)
    for number in range(KILLS):
        place.interrupted(seconds * (number + random.random()) / KILLS, signal.SIGKILL, tmp_path)
        place.check(content)
        if number % 4 == 3:
            place.rerun(content)
            assert place.left() == []
            assert not [path for path in place.cache.iterdir() if path.name.startswith("new-")]


@pytest.mark.slow
def test_a_run_may_be_asked_to_end_in_every_phase(inputs, whole, tmp_path):
    content, seconds = whole
    place = Place(inputs, tmp_path)
    for number in range(TERMINATIONS):
        place.interrupted(seconds * (number + 0.5) / TERMINATIONS, signal.SIGTERM, tmp_path)
        place.check(content)
        assert place.left() == []
    place.rerun(content)


@pytest.mark.slow
def test_two_runs_may_write_the_same_output_at_once(inputs, whole, tmp_path):
    place = Place(inputs, tmp_path)
    given = [sys.executable, "-m", "kcompress.cli", *map(str, command(inputs, place.out)), "--overwrite"]
    environment = {**os.environ, **place.environment}
    both = [subprocess.Popen(given, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (place.out / "o.keras").exists()
    place.check(whole[0])
    assert place.left() == []


def damages(path):
    content = path.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return (b"", content[:middle], changed) if path.name == "model.keras" else (changed,)


class EndedError(Exception):
    pass


def test_a_cache_may_be_damaged_in_any_way(inputs, tmp_path, monkeypatch, caplog):
    """After a run that was ended in its training, every file of the cache is damaged in each way, one at a time."""
    cache, output = tmp_path / "cache", tmp_path / "o.keras"
    monkeypatch.setenv("KCOMPRESS_CACHE", str(cache))

    def run(log=lambda line: None):
        output.unlink(missing_ok=True)
        data = inputs / "d.npz"
        compress(inputs / "m.keras", output, passes=TRAINING, data=data, hooks=Hooks(log=log))
        return output.read_bytes()

    def end(line):
        if "epoch 2 of 3" in line:
            raise EndedError

    whole = run()
    assert list(cache.iterdir()) == []
    with pytest.raises(EndedError):
        run(end)
    shutil.copytree(cache, tmp_path / "kept")
    files = [path.relative_to(tmp_path / "kept") for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"model.keras", "record.json", "digests.json", "state.npz"}
    for file in files:
        for damage in damages(tmp_path / "kept" / file):
            shutil.rmtree(cache)
            shutil.copytree(tmp_path / "kept", cache)
            (cache / file).write_bytes(damage)
            caplog.clear()
            assert run() == whole, file
            assert any("is damaged" in record.message for record in caplog.records), file


@contextmanager
def files_of_at_most(size):
    """No file of this process may grow beyond so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", ["keras", "tflite", "onnx"])
def test_a_disk_may_be_full(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / f"o.{suffix}"
    with files_of_at_most(600), pytest.raises(OutputError, match="cannot be written") as told:
        compress(dense(), target, passes=["quantize.float16"])
    assert "\n" not in str(told.value)
    assert [*(tmp_path / "out").iterdir(), *(tmp_path / "tmp").iterdir()] == []
    compress(dense(), target, passes=["quantize.float16"])
    assert inspect(target).description.parameters == dense().count_params()


@pytest.mark.parametrize("lost", ["o.keras", "r.json"])
def test_the_folder_may_be_removed_meanwhile(lost, tmp_path):
    """That of the output or that of the report: neither of them is written then."""
    dense().save(tmp_path / "m.keras")
    places = {name: tmp_path / name.replace(".", "") / name for name in ("o.keras", "r.json")}
    for path in places.values():
        path.parent.mkdir()
    hooks = Hooks(passed=lambda *_: shutil.rmtree(places[lost].parent))
    with pytest.raises(OutputError, match=f"{lost}: cannot be written"):
        compress(
            tmp_path / "m.keras",
            places["o.keras"],
            passes=["quantize.float16"],
            reports=[places["r.json"]],
            hooks=hooks,
        )
    assert [path for place in places.values() for path in place.parent.glob("*")] == []


def test_the_folder_may_be_read_only(inputs, tmp_path):
    (tmp_path / "cache").mkdir()
    done = kcompress("compress", inputs / "m.keras", "/proc/o.keras", "--apply", "quantize.float16")
    assert_refused(done, 2, "/proc/o.keras: ", "cannot be written")


@pytest.mark.slow
def test_a_user_may_have_no_home(inputs, tmp_path):
    """And the current folder is not where a cache goes."""
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "KCOMPRESS_CACHE")}
    place = tmp_path / "place"
    place.mkdir()
    given = [sys.executable, "-m", "kcompress.cli", *command(inputs, place)]
    done = subprocess.run(
        list(map(str, given)), env=environment, cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in place.iterdir()] == ["o.keras"]


def test_without_a_home_nothing_is_kept(monkeypatch, tmp_path):
    from kcompress import cache

    monkeypatch.delenv("KCOMPRESS_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/kcompress"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError), cache.making(cache.entry("e")):
        pass
    cache.write(cache.entry("e") / "x.json", 1)
    assert cache.read(int, cache.entry("e") / "x.json") is None
    assert list(tmp_path.iterdir()) == []
