"""`kcompress demo`: the main job on a small trained model that comes with the package."""

import shutil
from pathlib import Path

import click

from kcompress import backend
from kcompress.api import compress as pipeline
from kcompress.errors import ModelError, OutputError
from kcompress.formats import formats
from kcompress.progress import Hooks
from kcompress.report.terminal import show

MODEL, DATA = "resnet8.keras", "fashion_mnist.npz"
JOBS = {
    "pruned.keras": ["prune.magnitude:sparsity=0.3", "quantize.float16"],
    "half.tflite": ["quantize.float16"],
    "half.onnx": ["quantize.float16"],
}


def run(folder: Path, hooks: Hooks) -> int:
    """Write the demo's files into `folder` and print a report for each; returns the exit code.

    Files of an earlier demo are replaced. Without TensorFlow, only the `.keras` file is made.
    """
    source = _files()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (MODEL, DATA):
            shutil.copy(source / name, folder / name)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); give another folder") from error
    code = 0
    for name, steps in JOBS.items():
        applied = " ".join(f"--apply {step}" for step in steps)
        click.echo(f"\n$ kcompress compress {folder / MODEL} {folder / name} --data {folder / DATA} {applied}")
        form = formats()[Path(name).suffix[1:]]
        if not all(map(backend.installed, form.modules)):
            click.echo(f"left out: needs the '{form.extra}' extra; run: pip install 'kcompress[{form.extra}]'")
            continue
        report = pipeline.compress(
            folder / MODEL, folder / name, passes=steps, data=str(folder / DATA), overwrite=True, hooks=hooks
        )
        show(report.document())
        code = max(code, report.exit_code)
    return code


def _files() -> Path:
    """Where the model and the data lie: in an installed package, or in a checkout."""
    here = Path(__file__).parents[1]
    for folder in (here / "demo_files", here.parent / "fixtures"):
        if (folder / MODEL).exists() and (folder / DATA).exists():
            return folder
    raise ModelError(f"{here}: the demo's files are missing; install kcompress again")
