"""Whether commands still write the bytes that they wrote: SHA-256 of every file, compared with those that are kept.

    python scripts/bench/same_bytes.py                 # compare with same_bytes.json; exit code 1 where one differs
    python scripts/bench/same_bytes.py --record        # keep the hashes of this tree instead
    python scripts/bench/same_bytes.py prune ensemble  # only the commands with one of these words

Every pass is in at least one command, and every format. JSON documents are compared without what is measured in time
or memory. Bytes depend on the processor and on the versions of the backends, so both are kept beside the hashes: where
they differ, record the commit before on this machine first, as in a worktree of it.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve()
FIXTURES = HERE.parents[2] / "fixtures"
KEPT = HERE.with_suffix(".json")
MEASURED = {"seconds", "latency_ms", "peak_memory_bytes", "minutes", "kcompress"}
"""Keys of JSON documents whose values differ from run to run, or say only the version."""
PACKAGES = ("keras", "tensorflow", "numpy", "onnxruntime", "tf2onnx", "ai-edge-quantizer", "optuna")

COMMANDS = {
    "prune-magnitude-keras": "compress resnet8.keras out.keras --data fashion_mnist.npz --apply "
    "prune.magnitude:sparsity=0.5,ranking=global --apply quantize.float16 --report r.json",
    "prune-magnitude-pattern": "compress lenet300.keras out.keras --apply prune.magnitude:n=2,m=4 --report r.json",
    "prune-magnitude-recipe": "compress mobilenet.keras out.onnx --data fashion_mnist.npz --recipe recipe.yaml "
    "--report r.json",
    "prune-structured-taylor": "compress resnet8.keras out.tflite --data fashion_mnist.npz --apply "
    "prune.structured:macs=0.6,criterion=taylor --report r.json",
    "prune-structured-l1": "compress mobilenet.keras out.onnx --apply prune.structured:ratio=0.3 --report r.json",
    "prune-structured-activation": "compress lenet5.h5 out.keras --data fashion_mnist.npz --apply "
    "prune.structured:parameters=0.5,criterion=activation --report r.json",
    "prune-structured-random": "compress lenet300.keras out.keras --apply prune.structured:ratio=0.5,criterion=random "
    "--seed 3 --report r.json",
    "prune-dead": "compress lenet300.keras out.keras --apply prune.magnitude:sparsity=0.95 --apply prune.dead "
    "--report r.json",
    "fold-equalize-weights": "compress mobilenet.keras out.tflite --data fashion_mnist.npz --apply fold.batchnorm "
    "--apply equalize.cross_layer --apply quantize.weights:bits=4 --report r.json",
    "weights-gptq": "compress resnet8.keras out.tflite --data fashion_mnist.npz --apply fold.batchnorm --apply "
    "quantize.weights:bits=4,rounding=gptq,ranges=output --apply quantize.int8 --report r.json",
    "weights-adaround": "compress lenet5.h5 out.onnx --data fashion_mnist.npz --apply "
    "quantize.weights:bits=3,rounding=adaround --report r.json",
    "int8-tflite": "compress resnet8.keras out.tflite --data fashion_mnist.npz --apply fold.batchnorm --apply "
    "quantize.int8 --batch 1 --report r.json",
    "int8-onnx": "compress mobilenet.keras out.onnx --data fashion_mnist.npz --apply fold.batchnorm --apply "
    "quantize.int8 --report r.json",
    "int8-dynamic": "compress lenet300.keras out.onnx --apply quantize.int8:mode=dynamic --report r.json",
    "int8-keras": "compress lenet5.h5 out.keras --data fashion_mnist.npz --apply quantize.int8 --report r.json",
    "int16-tflite": "compress lenet5.h5 out.tflite --data fashion_mnist.npz --apply "
    "quantize.int8:activations=16,ranges=mse --report r.json",
    "binary-onnx": "compress lenet300.keras out.onnx --apply quantize.binary --report r.json",
    "ternary-keras": "compress lenet300.keras out.keras --apply quantize.binary:levels=3 --report r.json",
    "quantize-keras": "compress lenet300.keras out.keras --apply quantize.keras --report r.json",
    "finetune-sparse": "compress lenet300.keras out.keras --data fashion_mnist.npz --apply "
    "prune.magnitude:sparsity=0.9,schedule=polynomial --apply train.finetune:epochs=2 --report r.json",
    "distill-quantized": "compress lenet300.keras out.tflite --data fashion_mnist.npz --apply quantize.weights:bits=4 "
    "--apply quantize.int8 --apply train.distill:epochs=1 --report r.json",
    "distill-structured": "compress resnet8.keras out.keras --data fashion_mnist.npz --apply "
    "prune.structured:macs=0.5 --apply train.distill:epochs=1,features=auto --teacher mobilenet.keras --teacher "
    "resnet8.keras --combine weighted --report r.json",
    "finetune-jax": "compress lenet300.keras out.keras --data fashion_mnist.npz --backend jax --apply "
    "quantize.binary --apply train.finetune:epochs=1,optimizer=sgd,learning_rate=0.05 --report r.json",
    "fuse": "compress lenet300.keras out.keras --apply fuse.average_weights:models=lenet300.keras --report r.json",
    "ensemble": "ensemble lenet300.keras resnet8.keras out.keras --data fashion_mnist.npz --how weighted --json",
    "ensemble-stacked": "ensemble lenet300.keras lenet300.keras out.onnx --data fashion_mnist.npz --how stacked --json",
    "search": "search lenet300.keras out.tflite --data fashion_mnist.npz --max-drop 2 --trials 3 --report r.json",
    "search-groups": "search lenet300.keras out.keras --data fashion_mnist.npz --max-drop 2 --trials 3 --sampler "
    "random --apply quantize.weights:bits={search:[3,8],groups:2} --report r.json",
    "sensitivity": "sensitivity resnet8.keras --data fashion_mnist.npz --samples 64 --report r.json --report r.md",
    "inspect": "inspect mobilenet.keras --json",
    "compare": "compare resnet8.keras lenet300.keras --test fashion_mnist.npz --json",
    "passes-schema": "passes --schema",
    "passes": "passes",
}
RECIPE = """passes:
  - pass: prune.magnitude
    sparsity: 0.3
    skip: [head]
    rules:
      - {layers: "*pw*", sparsity: 0.4}
      - {layers: "*dw*", skip: true}
  - quantize.float16
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="only commands whose name has one of these words")
    parser.add_argument("--record", action="store_true", help="keep the hashes of this tree")
    parser.add_argument("--root", type=Path, help="a checkout to run in place of the installed package")
    parser.add_argument("--keep", type=Path, help="a folder in which to leave what was written")
    parser.add_argument("--jobs", type=int, default=2, help="commands at once [2]")
    given = parser.parse_args()
    chosen = [name for name in COMMANDS if not given.words or any(word in name for word in given.words)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        with ThreadPoolExecutor(given.jobs) as pool:
            found = dict(zip(chosen, pool.map(lambda name: run(name, folder, given.root), chosen), strict=True))
    document = {"machine": machine(), "hashes": found}
    if given.record:
        KEPT.write_text(json.dumps(document, indent=1) + "\n")
        return 0
    kept = json.loads(KEPT.read_text())
    for name, value in document["machine"].items():
        if kept["machine"].get(name) != value:
            print(f"{name}: {value} here, {kept['machine'].get(name)} where the hashes were made")
    wrong = [f"{name}: {file}" for name in chosen for file in differing(kept["hashes"].get(name, {}), found[name])]
    print("\n".join(wrong or [f"{len(chosen)} commands, all files equal"]))
    return int(bool(wrong))


def run(name: str, folder: Path, root: Path | None) -> dict[str, str]:
    """Run one command in a folder of its own; returns the SHA-256 of each new file and of standard output."""
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    given = [path.name for path in FIXTURES.iterdir()]
    for each in given:
        (place / each).symlink_to(FIXTURES / each)
    (place / "recipe.yaml").write_text(RECIPE)
    environment = {**os.environ, "KCOMPRESS_CACHE": str(place / ".cache"), "PYTHONHASHSEED": "0"}
    if root is not None:
        environment["PYTHONPATH"] = str(root)
    began = time.perf_counter()
    module = "import sys; from kcompress.cli import main; sys.argv[0] = 'kcompress'; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", module, *COMMANDS[name].split()], cwd=place, env=environment, capture_output=True
    )
    print(f"{name}: exit code {done.returncode}, {time.perf_counter() - began:.0f} s", flush=True)
    if done.returncode not in (0, 1):
        print(done.stderr.decode(), flush=True)
    (place / "stdout.json").write_bytes(done.stdout)
    files = [path for path in sorted(place.iterdir()) if path.name not in (*given, ".cache", "recipe.yaml")]
    return {"exit code": str(done.returncode), **{path.name: digest(path) for path in files}}


def digest(path: Path) -> str:
    """SHA-256 of a file, of JSON without what was measured in time or memory."""
    content = path.read_bytes()
    if path.name == "stdout.json" and b"{" not in content[:1]:
        content = b"" if b"passes NAME explains one" not in content else content  # tables have times in them
    elif path.suffix == ".json":
        content = json.dumps(timeless(json.loads(content)), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def timeless(value: object) -> object:
    """JSON data without the keys of `MEASURED`."""
    if isinstance(value, dict):
        return {key: timeless(entry) for key, entry in value.items() if key not in MEASURED}
    return [timeless(entry) for entry in value] if isinstance(value, list) else value


def differing(kept: dict[str, str], found: dict[str, str]) -> list[str]:
    """Names of files that differ, or that only one of both has."""
    return [name for name in sorted({*kept, *found}) if kept.get(name) != found.get(name)]


def machine() -> dict[str, str]:
    """What bytes depend on besides the code."""
    cpu = Path("/proc/cpuinfo")
    model = [line for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.exists() else []
    processor = model[0].partition(":")[2].strip() if model else platform.processor()
    return {"processor": processor, "python": platform.python_version(), **{each: version(each) for each in PACKAGES}}


if __name__ == "__main__":
    sys.exit(main())
