"""`kcompress verify`."""

from pathlib import Path
from typing import Any

import click

from kcompress.cli.options import verb


def declared() -> Any:
    from kcompress.run.options import VerifyOptions

    return (VerifyOptions,)


@verb(declared)
@click.argument("report", type=click.Path(path_type=Path))
def command(report: Path, **given: Any) -> None:
    """Measure a compressed file again, and say what differs from its JSON report.

    Its sizes and SHA-256 have to be those of the report; so has its quality, where source and test data are there.
    Exit code 1 if anything differs.

    Example: kcompress verify report.json
    """
    from kcompress.api.verify import verify
    from kcompress.cli.running import run

    run(verify, report, **given)
