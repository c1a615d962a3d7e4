"""What it costs to look at files that are large in one way: seconds and memory above those of a small file.

    python scripts/bench/looking.py

A refusal is to take at most 2 s and 500 MB more than a small file takes; `check` takes 1,000 files in under a second.
The last lines set the time for a Sequential of 300 layers beside what stock Keras takes to read it.
"""

import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

MOST_SECONDS = 120
STOCK = "import time, keras; t = time.time(); keras.saving.load_model('layers300.keras'); print(time.time() - t)"


def make(folder: Path) -> None:
    """The files."""
    import h5py
    import keras
    import numpy as np

    sys.setrecursionlimit(20_000)
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]).save(folder / "small.keras")
    for count in (300, 1000):
        layers = [keras.layers.Dense(8) for _ in range(count)]
        keras.Sequential([keras.Input((8,)), *layers]).save(folder / f"layers{count}.keras")
    with zipfile.ZipFile(folder / "small.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        for number in range(20_000):
            file.create_dataset(f"x{number}", data=np.zeros(1, np.float32))
    nodes = b'{"a":[' + b",".join([b"1"] * 30_000_000) + b"]}"
    for name, change in {
        "datasets": {"model.weights.h5": weights.getvalue()},
        "members": {f"assets/{number}": b"" for number in range(60_000)},
        "nodes": {"config.json": nodes},
        "few-bytes-each": {"config.json": b'{"a":[' + b",".join([b"{}"] * 5_000_000) + b"]}"},
    }.items():
        with zipfile.ZipFile(folder / f"{name}.keras", "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in {**members, **change}.items():
                archive.writestr(member, content)
    for suffix in ("tflite", "onnx"):
        with (folder / f"hole.{suffix}").open("wb") as file:
            file.truncate(10**12)
    with (folder / "hole.keras").open("wb") as file:
        file.truncate(10**12)
        file.seek(10**12)
        file.write((folder / "small.keras").read_bytes())
    (folder / "many").mkdir()
    for number in range(1000):
        (folder / "many" / f"{number}.keras").write_bytes(b"1")
    place = folder / "deep" / "/".join(["d"] * 40)
    place.mkdir(parents=True)
    (place / "a.keras").write_bytes(b"1")
    for number in range(3):
        (folder / "deep" / f"up{number}").symlink_to("..")
        (folder / "deep" / f"self{number}").symlink_to(".")


def measured(folder: Path, *arguments: str) -> tuple[float, float, int]:
    """Seconds, megabytes at the peak, and the exit code of a command."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "kcompress.cli", *arguments]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet) as process:
        timer = threading.Timer(MOST_SECONDS, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - began, usage.ru_maxrss / 1000, process.returncode


def main() -> None:
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(folder,))  # whose memory is its own
        maker.start()
        maker.join()
        measured(folder, "inspect", "small.keras")  # so that libraries are in the page cache
        seconds, memory, _ = measured(folder, "inspect", "small.keras")
        print(f"inspect small.keras: {seconds:.1f} s, {memory:.0f} MB; below, what comes on top of that")
        spent = {}
        for file in sorted(folder.glob("*.*")):
            if file.name != "small.keras":
                more, most, code = measured(folder, "inspect", file.name)
                spent[file.name] = more - seconds
                print(f"{file.name:24} exit code {code}  {more - seconds:6.1f} s  {most - memory:6.0f} MB")
        for pattern in ("many", "many/**/*.keras", f"{'**/' * 9}*.keras"):
            taken, most, code = measured(folder, "check", pattern, "--max-size", "1KB")
            print(f"check {pattern:30} exit code {code}  {taken:6.2f} s  {most:6.0f} MB in all")
        stock = subprocess.run([sys.executable, "-c", STOCK], cwd=folder, capture_output=True, text=True, check=True)
        keras_seconds = float(stock.stdout.split()[-1])
        ours = spent["layers300.keras"]
        print(f"300 layers: stock Keras {keras_seconds:.1f} s, {keras_seconds / ours:.1f} times those of inspect")


if __name__ == "__main__":
    main()
