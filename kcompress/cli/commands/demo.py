"""`kcompress demo`."""

import sys
from pathlib import Path

import click


@click.command()
@click.argument("folder", default="kcompress-demo", type=click.Path(path_type=Path), metavar="[DIR]")
def command(folder: Path) -> None:
    """Compress a small trained model in several ways into DIR and compare what came of it."""
    from kcompress.cli import demonstration
    from kcompress.cli.progress import hooks

    sys.exit(demonstration.run(folder, hooks(False)))
