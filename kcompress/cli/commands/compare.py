"""`kcompress compare`."""

from pathlib import Path
from typing import Any

from kcompress.cli.options import MODELS, verb


def declared() -> Any:
    from kcompress.run.options import CompareOptions

    return (CompareOptions,)


@verb(declared)
@MODELS
def command(models: tuple[Path, ...], **given: Any) -> None:
    """Measure model files side by side; quality is given against the first.

    Example: kcompress compare model.keras small.tflite --test data.npz
    """
    from kcompress.api.compare import compare
    from kcompress.cli.running import run

    run(compare, models, **given)
