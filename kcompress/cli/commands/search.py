"""`kcompress search`."""

from pathlib import Path
from typing import Any

from kcompress.cli.options import MODEL, OUTPUT, verb


def declared() -> Any:
    from kcompress.tuning.options import SearchOptions

    return (SearchOptions,)


@verb(declared)
@MODEL
@OUTPUT
def command(model: Path, output: Path, **given: Any) -> None:
    """Find the settings that make MODEL smallest within budgets, and write it as OUTPUT.

    Example: kcompress search model.keras small.tflite --data data.npz --max-drop 1.0
    """
    from kcompress.api.search import search
    from kcompress.cli.running import run

    run(search, model, output, **given)
