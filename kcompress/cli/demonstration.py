"""`kcompress demo`: what the tool is for, on a small trained model that comes with the package."""

import shutil
from pathlib import Path

import click

from kcompress import backend
from kcompress.api.compare import compare
from kcompress.api.compress import compress
from kcompress.errors import ModelError, OutputError
from kcompress.formats import formats
from kcompress.progress import Hooks
from kcompress.report.terminal import show

MODEL, DATA = "resnet8.keras", "fashion_mnist.npz"
FOLD, INT8 = "fold.batchnorm", "quantize.int8"
FOUR_BITS = "quantize.weights:bits=4,rounding=gptq,ranges=output"
JOBS = {
    "int8.tflite": (FOLD, INT8),
    "four-bits.tflite": (FOLD, "equalize.cross_layer", FOUR_BITS, INT8),
    "half.tflite": ("prune.structured:macs=0.5,criterion=taylor", "train.distill:epochs=3", FOLD, INT8),
    "int8.onnx": (FOLD, INT8),
}


def run(folder: Path, hooks: Hooks) -> int:
    """Write the demo's files into `folder`, print a line for each and a table of all; returns the exit code.

    Files of an earlier demo are replaced. What needs an extra that is not installed is left out, in one line.
    """
    source = _files()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (MODEL, DATA):
            shutil.copy(source / name, folder / name)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); give another folder") from error
    model, data, made = folder / MODEL, folder / DATA, []
    for name, passes in JOBS.items():
        output, file_format = folder / name, formats()[Path(name).suffix[1:]]
        if not all(map(backend.installed, file_format.modules)):
            click.echo(f"{name} is left out: run pip install 'kcompress[{file_format.extra}]'")
            continue
        applied = " ".join(f"--apply {step}" for step in passes)
        click.echo(f"$ kcompress compress {model} {output} --data {data} {applied}")
        compress(model, output, passes=passes, data=data, overwrite=True, hooks=Hooks(hooks.progress))
        made.append(output)
    compared = [model, *made]
    click.echo(f"$ kcompress compare {' '.join(map(str, compared))} --test {data}")
    show(compare(compared, test=data, hooks=hooks).document())
    return 0


def _files() -> Path:
    """Where the model and the data lie: in an installed package, or in a checkout."""
    here = Path(__file__).parents[1]
    for folder in (here / "demo_files", here.parent / "fixtures"):
        if (folder / MODEL).exists() and (folder / DATA).exists():
            return folder
    raise ModelError(f"{here}: the demo's files are missing; install kcompress again")
