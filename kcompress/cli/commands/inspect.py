"""`kcompress inspect`."""

from pathlib import Path
from typing import Any

from kcompress.cli.options import MODEL, verb


def declared() -> Any:
    from kcompress.run.options import InspectOptions

    return (InspectOptions,)


@verb(declared)
@MODEL
def command(model: Path, **given: Any) -> None:
    """Show what a model file holds: inputs, outputs, weights, layers or operators.

    Example: kcompress inspect model.tflite
    """
    from kcompress.api.inspect import inspect
    from kcompress.cli.running import run

    run(inspect, model, **given)
