"""`kcompress ensemble`."""

from pathlib import Path
from typing import Any

from kcompress.cli.options import MODELS, OUTPUT, verb


def declared() -> Any:
    from kcompress.run.options import EnsembleOptions

    return (EnsembleOptions,)


@verb(declared)
@MODELS
@OUTPUT
def command(models: tuple[Path, ...], output: Path, **given: Any) -> None:
    """Write several MODELs of the same inputs and outputs as one ordinary model, and measure them beside it.

    Example: kcompress ensemble a.keras b.keras both.keras --how weighted --data data.npz
    """
    from kcompress.api.ensemble import ensemble
    from kcompress.cli.running import run

    run(ensemble, models, output, **given)
