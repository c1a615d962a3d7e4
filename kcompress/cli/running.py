"""What every command does: choose the backend, call one function of the API, show what it returns."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kcompress.report.document import Result


def run(
    call: "Callable[..., Result]", *arguments: Any, backend: str | None, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Call a function, print its result for people or as JSON, or not at all, and exit with its code."""
    from kcompress.cli.progress import hooks

    use(backend)
    result = call(*arguments, **settings, hooks=hooks(quiet or as_json))
    if not result.shown:
        return
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
    elif not quiet:
        from kcompress.report.terminal import show

        show(result.document())
    sys.exit(result.exit_code)


def use(backend: str | None) -> None:
    """Settle on a backend before anything imports Keras."""
    if backend is not None:
        from kcompress.backend import select

        select(backend)
