"""The command line: parse, call one function, print, return an exit code.

0 done; 1 a budget or a check was not met; 2 bad usage or bad input; 3 refused for safety; 130 interrupted.
"""

import importlib
import signal
import sys
from pathlib import Path
from typing import Any

import click

from kcompress import __version__
from kcompress.errors import KCompressError

PLACE = Path(__file__).parent / "commands"
INTERRUPTED, TERMINATED = 130, 143


class Commands(click.Group):
    """The commands, one for each module of `commands`; a module is imported when its command is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(path.stem for path in PLACE.glob("[!_]*.py"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"kcompress.cli.commands.{name}").command
        command.name = name
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kcompress")
def cli() -> None:
    """Make trained Keras models smaller, and prove it on the file that was written."""


def _terminate(_signal: int, _frame: Any) -> None:
    """End as an interrupt does, so that nothing half written stays behind."""
    raise SystemExit(TERMINATED)


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = cli.main(standalone_mode=False)
    except KCompressError as error:
        from kcompress import hosts

        click.echo(f"Error: {error}", err=True)
        code = error.exit_code
        hosts.exit_now(code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 0
    except click.ClickException as error:
        click.echo(f"Error: {' '.join(error.format_message().split())}", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; nothing was written.", err=True)
        code = INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
