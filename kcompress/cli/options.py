"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

WAYS = click.Choice(["average", "weighted", "stacked"])

metric = click.option(
    "--metric", metavar="NAME", help="Keras metric [accuracy for class labels, else mean absolute error]"
)
backend = click.option("--backend", metavar="NAME", help="Keras backend: tensorflow, jax or torch")
trust = click.option(
    "--trust", metavar="MODULE", multiple=True, help="Module whose classes the model may use (repeatable)"
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else")
seed = click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random")
overwrite = click.option("--overwrite", is_flag=True, help="Replace files that exist")
batch = click.option(
    "--batch", type=click.IntRange(min=1), metavar="N", help="Fix the batch size in a .tflite or .onnx file [dynamic]"
)
max_drop = click.option("--max-drop", type=float, metavar="POINTS", help="Budget: quality that may be lost, in points")
max_size = click.option("--max-size", metavar="SIZE", help="Budget: size of the file, such as 250KB")
max_latency = click.option(
    "--max-latency",
    type=float,
    metavar="MS",
    help="Budget: median time for one sample on this machine, in milliseconds",
)
max_macs = click.option("--max-macs", metavar="COUNT", help="Budget: multiply-adds for one sample, such as 5M")
quiet = click.option("--quiet", is_flag=True, help="Print nothing but errors")
calibration = click.option("--calibration", metavar="SPEC", help="Calibration data [the train split of --data]")
test = click.option("--test", metavar="SPEC", help="Test data [the test split of --data]")
teachers = click.option(
    "--teacher",
    "teachers",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Model to learn from in train.distill [MODEL] (repeatable)",
)
combine = click.option(
    "--combine", type=WAYS, help="How several teachers become one, where no pass says it itself [average]"
)


def reports(kinds: str) -> Callable[[Any], Any]:
    """`--report` for files of these kinds, such as `.json or .md`."""
    return click.option(
        *("--report", "reports"),
        type=click.Path(path_type=Path),
        multiple=True,
        help=f"Write the report to a {kinds} file (repeatable)",
    )


def use(name: str | None) -> None:
    """Settle on a backend before anything imports Keras."""
    if name is not None:
        from kcompress import backend

        backend.select(name)
