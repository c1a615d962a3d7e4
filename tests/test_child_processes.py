"""A confined process writes no file, starts no program, opens no connection; and none imports from the folder it is in.

Covers: child_processes.py.
"""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kcompress.child_processes import command, environment
from tests.models import dense

ATTEMPT = """
import os, socket, subprocess, sys
from pathlib import Path
from kcompress.child_processes import confine

what, place, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
confine(2_000_000_000)
print(len(Path(place, "there").read_bytes()))
{
    "make": lambda: Path(place, "new").open("w"),
    "write": lambda: Path(place, "there").open("r+"),
    "remove": lambda: Path(place, "there").unlink(),
    "rename": lambda: Path(place, "there").rename(place / "new"),
    "make a folder": lambda: Path(place, "new").mkdir(),
    "start": lambda: subprocess.run(["/bin/true"]),
    "connect": lambda: socket.create_connection(("127.0.0.1", port)),
    "fill memory": lambda: bytearray(3_000_000_000),
}[what]()
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no Landlock")
@pytest.mark.parametrize(
    "what", ["make", "write", "remove", "rename", "make a folder", "start", "connect", "fill memory"]
)
def test_a_confined_process_does_nothing_but_compute(what, tmp_path):
    (tmp_path / "there").write_bytes(b"1234")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", ATTEMPT, what, str(tmp_path), port], capture_output=True, text=True, check=False
        )
    assert (done.stdout, done.returncode) == ("4\n", 1)
    assert "MemoryError" in done.stderr if what == "fill memory" else "Permission" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.slow
def test_nothing_is_imported_from_the_current_folder(tmp_path):
    dense().export(tmp_path / "saved", format="tf_saved_model", verbose=False)
    dense().save(tmp_path / "m.keras")
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 8), np.float32))
    for name in ("json", "numpy", "tensorflow", "keras", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("open('canary', 'w')")
    program = Path(sys.executable).with_name("kcompress")
    for arguments in (
        ["compare", "m.keras", "saved", "--test", "d.npz"],
        ["compress", "m.keras", "m.tflite", "--backend", "jax"],
    ):
        done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "canary").exists()


def test_a_child_finds_the_modules_that_this_process_finds(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("print('found')")
    monkeypatch.syspath_prepend(str(tmp_path))
    done = subprocess.run(command("only_here"), env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout == "found\n"
