"""`kcompress sensitivity`."""

from pathlib import Path
from typing import Any

from kcompress.cli.options import MODEL, verb


def declared() -> Any:
    from kcompress.analysis.options import SensitivityOptions

    return (SensitivityOptions,)


@verb(declared)
@MODEL
def command(model: Path, **given: Any) -> None:
    """Show how much pruning and quantizing each layer of MODEL alone costs.

    Example: kcompress sensitivity model.keras --data data.npz --report heat.svg
    """
    from kcompress.api.sensitivity import sensitivity
    from kcompress.cli.running import run

    run(sensitivity, model, **given)
