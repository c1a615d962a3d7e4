"""Give damaged and malicious files to the command, and look for anything but a clean refusal.

    python scripts/fuzz.py                      two minutes, as in CI
    python scripts/fuzz.py --seconds 3600 --seed 7
    python scripts/fuzz.py --only .keras --keep findings

Each case is a valid file with some mutations, and a command that reads it, in a process of its own with limits on time
and memory, watched by an audit hook. A finding is a case that ends by a signal, runs into a limit, prints a traceback
or more than one line, exits with a code other than 0 to 3, reaches outside of its folder, or changes its input. Its
files and its output are kept, the seed gives it again, and the exit code is 1. First, each command is given its file as
it is: one that is refused then would hide all findings.
"""

import argparse
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import h5py
import numpy as np

from tests import preloaded
from tests.hostile.watch import VARIABLE

LIMITS = "60,6000000000"
CODES = {0, 1, 2, 3}
VALUES = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        255,
        10**6,
        2**31,
        2**63,
        10**30,
        0.5,
        -0.0,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *("", "x", "é", "a b", "../x", "/etc/passwd", "http://127.0.0.1/x", "\x1b[31m", "\x00", "x" * 5000),
    *("float32", "float16", "int8", "relu", "valid", "Dense", "Lambda", "Sequential", "Functional", "__lambda__"),
    *("keras.layers", "builtins", "os", "function", "linear", "channels_first", "same", "mixed_float16"),
    *([], {}, [1], [None], [[[]]], {"class_name": "Dense", "config": {}}, {"class_name": "Lambda", "config": {}}),
    *([None, 4], [None, None], [0, 0], [10**6, 10**6], [-1], [3, 3], [2, 2, 2]),
]
Chance = random.Random
FLOAT16 = "compress FILE o.keras --apply quantize.float16"


# Mutations


def of_bytes(content: bytes, chance: Chance) -> bytes:
    """Flip, set, cut, splice, repeat or insert bytes."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
        if not data:
            break
        place, other = chance.randrange(len(data)), chance.randrange(len(data))
        length = chance.choice([1, 2, 4, 8, 64, 256])
        kind = chance.randrange(8)
        if kind == 0:
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[place] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            data[place : place + length] = data[other : other + length]
        elif kind == 4:
            data[place:place] = data[other : other + length]
        elif kind == 5:
            del data[place : place + length]
        elif kind == 6:
            size = chance.choice([2, 4, 8])
            data[place : place + size] = chance.choice([0, 2**15, 2**31 - 1, 2**32 - 1, 2**63]).to_bytes(9, "little")[
                :size
            ]
        else:
            data[place : place + length] = bytes(length)
    return bytes(data)


def of_json(document: object, chance: Chance) -> object:
    """Change, remove, rename, copy or nest values of a document."""
    document = json.loads(json.dumps(document))
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        holders = [item for item in _walk(document) if item]
        if not holders:
            break
        holder, other = chance.choice(holders), chance.choice(holders)
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key, kind = chance.choice(keys), chance.randrange(10)
        if kind < 5:
            holder[key] = chance.choice(VALUES)
        elif kind == 5:
            del holder[key]
        elif kind == 6:
            source = chance.choice(list(other.values()) if isinstance(other, dict) else other)
            holder[key] = json.loads(json.dumps(source))
        elif kind == 7:
            holder[key] = _nested(chance.choice([5, 50, 190, 500]), chance)
        elif kind == 8 and isinstance(holder, dict):
            holder[str(chance.choice([*VALUES, *keys]))] = holder.pop(key)
        elif isinstance(holder, list):
            holder.extend([holder[key]] * chance.choice([1, 3, 1000]))
        elif isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
            holder[key] = holder[key] * chance.choice([-1, 0, 2, 1000, 10**9])
    return document


def _walk(document: object) -> list:
    found, waiting = [], [document]
    for item in waiting:
        if isinstance(item, (dict, list)):
            found.append(item)
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return found


def _nested(depth: int, chance: Chance) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value] if chance.random() < 0.5 else {"config": value}
    return value


def of_json_text(content: bytes, chance: Chance) -> bytes:
    return json.dumps(of_json(json.loads(content), chance)).encode()


def of_text(content: bytes, chance: Chance) -> bytes:
    """Change words of a text."""
    words = re.split(rb"(\W+)", content)
    for _ in range(chance.choice([1, 1, 2, 4])):
        place = chance.randrange(len(words))
        value = chance.choice(VALUES)
        written = value if isinstance(value, str) else json.dumps(value)
        words[place] = chance.choice(
            [written.encode(), words[chance.randrange(len(words))], b"", b"[" * 500, b"&a [*a]"]
        )
    return b"".join(words)


def of_keras(content: bytes, chance: Chance) -> bytes:
    """A member of the archive changed, and the archive made anew; or a member twice, gone, or renamed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(["config.json"] * 6 + ["metadata.json", "model.weights.h5", "model.weights.h5"])
    kind = chance.randrange(12)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[chance.choice(["../x", "/x", "assets/x/y", "x" * 300, "model.weights.h5/x"])] = members[name]
    elif name.endswith(".json") and kind < 10:
        members[name] = json.dumps(of_json(json.loads(members[name]), chance)).encode()
    else:
        members[name] = (of_hdf5 if name.endswith("h5") and kind < 8 else of_bytes)(members[name], chance)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", chance.choice([0, 8, 12, 14])) as archive:
        for each, data in members.items():
            archive.writestr(each, data)
    return made.getvalue()


def of_hdf5(content: bytes, chance: Chance) -> bytes:
    """Attributes, groups and data sets changed, by HDF5 itself."""
    made = io.BytesIO(content)
    with h5py.File(made, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(chance.choice([1, 1, 2, 3])):
            item = file[chance.choice(["/", *names])] if names else file
            kind = chance.randrange(8)
            if kind < 4 and len(item.attrs):
                key = chance.choice(list(item.attrs))
                value = item.attrs[key]
                if isinstance(value, (str, bytes)) and value[:1] in ("{", b"{") and kind < 3:
                    value = json.dumps(of_json(json.loads(value), chance))
                else:
                    value = chance.choice(
                        [3, 1.5, "x", "{}", "[]", np.arange(5), np.array([b"a", b"b"]), h5py.Empty("f4")]
                    )
                del item.attrs[key]
                item.attrs[key] = value
            elif isinstance(item, h5py.Dataset):
                parent, name = item.parent, item.name.split("/")[-1]
                shape, kind_of = item.shape, chance.choice(["f4", "f2", "i8", "S3", "f8", "u1"])
                del parent[name]
                new = chance.choice([(), (0,), (7,), (*shape, 1), shape[::-1], shape, (10**6, 10**6)])
                parent.create_dataset(
                    name, shape=new, dtype=kind_of, chunks=(64, 64) if len(new) == 2 and min(new) > 64 else None
                )
            elif kind == 5:
                item[f"x{chance.randrange(9)}"] = h5py.SoftLink(chance.choice(["/", "/none", item.name]))
            elif kind == 6:
                item[f"x{chance.randrange(9)}"] = chance.choice(
                    [h5py.ExternalLink("/etc/x.h5", "/"), np.dtype("f4"), 3]
                )
            elif item.name != "/":
                del item.parent[item.name.split("/")[-1]]
            names = []
            file.visit(names.append)
    return made.getvalue()


def of_npz(content: bytes, chance: Chance) -> bytes:
    """An array's bytes or header changed, and the archive made anew."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(list(members))
    members[name] = of_npy(members[name], chance)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", chance.choice([0, 8])) as archive:
        for each, data in members.items():
            archive.writestr(each, data)
    return made.getvalue()


def of_npy(content: bytes, chance: Chance) -> bytes:
    """The header says something else, or bytes changed."""
    end = content.index(b"\n") + 1
    if chance.random() < 0.4:
        return of_bytes(content, chance)
    values = [
        "(1000000, 1000000, 1000)",
        "()",
        "(-1,)",
        "(3",
        "'|O'",
        "'<U9'",
        "'V8'",
        "None",
        "[" * 300,
        "('a',)",
        "1e9",
    ]
    header = re.sub(
        rb"\([^)]*\)|'<\w+'|True|False",
        lambda found: chance.choice([found[0], *map(str.encode, values)]),
        content[10:end],
    )
    return content[:8] + len(header).to_bytes(2, "little") + header + content[end:]


# Cases


class Corpus:
    """Valid files, made once: by name, their content, a mutation besides bytes, and the commands that read them."""

    def __init__(self, folder: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}

    CASES: dict[str, tuple[Callable[[bytes, Chance], bytes], list[str]]] = {
        "cnn.keras": (of_keras, ["inspect FILE", "inspect FILE", FLOAT16, "compare FILE"]),
        "two.keras": (of_keras, ["inspect FILE", "compress FILE o.keras --apply prune.magnitude:sparsity=0.5"]),
        "cnn.h5": (of_hdf5, ["inspect FILE", FLOAT16]),
        "keras2.h5": (of_hdf5, ["inspect FILE", FLOAT16]),
        "tfmot.h5": (of_hdf5, ["inspect FILE"]),
        "m.tflite": (of_bytes, ["inspect FILE", "compare FILE"]),
        "int8.tflite": (of_bytes, ["inspect FILE", "compare FILE"]),
        "m.onnx": (of_bytes, ["inspect FILE", "compare FILE"]),
        "int8.onnx": (of_bytes, ["inspect FILE", "compare FILE"]),
        "d.npz": (of_npz, ["compress dense.keras o.keras --data FILE --apply quantize.float16"]),
        "d.npy": (of_npy, ["compress dense.keras o.keras --data FILE --apply quantize.int8"]),
        "d.csv": (of_text, ["compress dense.keras o.keras --data FILE:y --apply quantize.float16"]),
        "i.png": (of_bytes, ["compress image.keras o.keras --data images --apply quantize.float16"]),
        "r.yaml": (of_text, ["compress dense.keras o.keras --recipe FILE"]),
        "r.json": (of_json_text, ["compress dense.keras o.keras --recipe FILE"]),
        "pyproject.toml": (of_text, ["check", "check dense.keras"]),
    }  # fmt: skip


def make(folder: Path) -> None:
    """The corpus."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from PIL import Image

    import kcompress

    layers = keras.layers
    x = keras.Input((8, 8, 1), name="x")
    y = layers.Conv2D(4, 3, activation="relu", name="c")(x)
    y = layers.BatchNormalization()(y)
    y = layers.add([y, layers.Conv2D(4, 1)(y)])
    y = layers.GlobalAveragePooling2D()(y)
    cnn = keras.Model(x, layers.Dense(3, name="d")(y))
    cnn.compile("adam", "mse", metrics=["mae"])
    a, b = keras.Input((4,), name="a"), keras.Input((6,), dtype="int32", name="b")
    z = layers.concatenate([a, layers.LSTM(3)(layers.Embedding(9, 5)(b))])
    two = keras.Model({"a": a, "b": b}, [layers.Dense(2, name="p")(z), layers.Dense(1, name="q")(z)])
    dense = keras.Sequential([keras.Input((4,)), layers.Dense(8, "relu"), layers.Dense(3)])
    image = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
    for name, model in (("cnn", cnn), ("two", two), ("dense", dense), ("image", image)):
        model.save(folder / f"{name}.keras")
    cnn.save(folder / "cnn.h5")
    samples = np.random.default_rng(0).random((40, 8, 8, 1), np.float32)
    for suffix in ("tflite", "onnx"):
        kcompress.compress(cnn, folder / f"m.{suffix}", passes=["quantize.weights:bits=4"])
        kcompress.compress(cnn, folder / f"int8.{suffix}", passes=["quantize.int8"], calibration=samples)
    old = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(8, "relu"), tf_keras.layers.Dense(3)])
    old.save(folder / "keras2.h5")
    tfmot.sparsity.keras.prune_low_magnitude(old).save(folder / "tfmot.h5")
    rows = np.random.default_rng(1).random((30, 4), np.float32)
    np.savez(folder / "d.npz", x_train=rows, y_train=np.arange(30) % 3, x_test=rows, y_test=np.arange(30) % 3)
    np.save(folder / "d.npy", rows)
    lines = [",".join(f"{value:.3f}" for value in row) + f",{number % 3}" for number, row in enumerate(rows)]
    (folder / "d.csv").write_text("\n".join(["a,b,c,d,y", *lines]))
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(folder / "i.png")
    recipe = {"passes": [{"pass": "prune.magnitude", "sparsity": 0.5}, "quantize.int8:mode=weight_only"]}
    (folder / "r.json").write_text(json.dumps(recipe))
    (folder / "r.yaml").write_text("passes:\n- {pass: prune.magnitude, sparsity: 0.5}\n- quantize.float16\n")
    (folder / "pyproject.toml").write_text("[tool.kcompress.check]\npaths = ['*.keras']\nmax-size = '1MB'\n")


def one(corpus: Corpus, seed: int, only: str, keep: Path) -> tuple[str, str | None]:
    """Carry out one case; the file's name, and what is wrong, if anything."""
    chance = Chance(seed)
    name = chance.choice([name for name in corpus.CASES if only in name])
    own, commands = corpus.CASES[name]
    mutate = of_bytes if chance.random() < 0.3 else own
    content = mutate(corpus.files[name], chance)
    return name, tried(corpus, name, content, chance.choice(commands), keep / f"{seed}-{name}")[1]


def refused_as_they_are(corpus: Corpus, only: str, keep: Path) -> list[str]:
    """The commands that do not end well on the file that nothing was done to."""
    cases = [(name, command) for name in corpus.CASES if only in name for command in set(corpus.CASES[name][1])]
    return [
        f"{name}, {command}: exit code {code}, {wrong or 'refused'}"
        for name, command in cases
        for code, wrong in [tried(corpus, name, corpus.files[name], command, keep / f"whole-{name}")]
        if code or wrong
    ]


def tried(corpus: Corpus, name: str, content: bytes, command: str, keep: Path) -> tuple[int, str | None]:
    """Give a command a file with this content; its exit code, and what is wrong, if anything, which is kept."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as base:
        place, log, temporary = Path(base, "place"), Path(base, "log"), Path(base, "tmp")
        place.mkdir()
        for other in ("dense.keras", "image.keras"):
            (place / other).write_bytes(corpus.files[other])
        path = place / name
        if name == "i.png":
            path = place / "images" / "one" / name
            path.parent.mkdir(parents=True)
            (place / "images" / "two").mkdir()
            for number in range(5):  # one in five is test data
                (place / "images" / "two" / f"{number}.png").write_bytes(corpus.files[name])
        path.write_bytes(content)
        before = {each: each.read_bytes() for each in place.rglob("*") if each.is_file()}
        extra = {VARIABLE: str(log), preloaded.LIMITS: LIMITS, "KCOMPRESS_CACHE": str(temporary)}
        done = preloaded.run(command.replace("FILE", name).split(), place, extra)
        wrong = judged(done, log, {each: each.read_bytes() for each in place.rglob("*") if each.is_file()}, before)
        if wrong:
            shutil.copytree(place, keep, dirs_exist_ok=True)
            (keep / "said.txt").write_text(f"{command}\n{wrong}\n{done.returncode}\n{done.stderr}\n{done.stdout}")
    return done.returncode, wrong


def judged(done: "subprocess.CompletedProcess[str]", log: Path, after: dict, before: dict) -> str | None:
    """What is wrong with how a command ended."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode not in CODES:
        return f"exit code {done.returncode}: {lines[-1][:300] if lines else ''}"
    if "Traceback" in done.stderr:
        return f"traceback: {lines[-1][:200]}"
    if done.returncode > 1 and (len(lines) != 1 or not lines[0].startswith("Error: ")):
        return f"not one line: {' | '.join(lines)[:300]}"
    if not done.stderr.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return "control characters on the terminal"
    if log.exists() and log.read_text():
        return f"reached outside: {log.read_text()[:200]}"
    if any(after.get(path) != content for path, content in before.items()):
        return "an input was changed"
    if done.returncode > 1 and set(after) != set(before):
        return f"left behind: {[str(path) for path in set(after) - set(before)]}"
    return None


def work(corpus: Corpus, seconds: float, first: int, step: int, only: str, keep: Path) -> int:
    """Cases from a first seed on, until time is up; the number of findings."""
    ended, counts, findings = time.monotonic() + seconds, Counter[str](), 0
    seed = first
    while time.monotonic() < ended:
        name, wrong = one(corpus, seed, only, keep)
        counts[name] += 1
        if wrong:
            findings += 1
            print(f"seed {seed}, {name}: {wrong}", flush=True)
        seed += step
    print(f"{sum(counts.values())} cases: {', '.join(f'{name} {n}' for name, n in sorted(counts.items()))}", flush=True)
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=18_000_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="a part of the names of files to mutate")
    parser.add_argument("--case", type=int, help="this seed alone")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "kcompress-fuzz-findings"))
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not any(given.only in name for name in Corpus.CASES):
        parser.error(f"--only {given.only}: no such file; there are {', '.join(Corpus.CASES)}")
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
    if given.make:
        make(given.make)
        return 0
    if given.worker is not None:
        first = given.seed + given.worker
        return min(work(Corpus(given.corpus), given.seconds, first, given.jobs, given.only, given.keep), 1)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--make", folder], check=True, stderr=subprocess.DEVNULL)
        if given.case is not None:
            name, wrong = one(Corpus(Path(folder)), given.case, given.only, given.keep)
            print(f"{name}: {wrong}; files in {given.keep}" if wrong else f"{name}: fine")
            return int(wrong is not None)
        if refused := refused_as_they_are(Corpus(Path(folder)), given.only, given.keep):
            print("\n".join(refused))
            return 1
        command = [sys.executable, *sys.argv, "--corpus", folder, "--worker"]
        workers = [subprocess.Popen([*command, str(number)]) for number in range(given.jobs)]
        return int(sum(worker.wait() for worker in workers) > 0)


if __name__ == "__main__":
    raise SystemExit(main())
