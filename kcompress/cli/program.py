"""The command line: parse, call one function, print, return an exit code.

0 done; 1 a budget or a check was not met; 2 bad usage or bad input; 3 refused for safety; 70 an error that nobody
foresaw; 130 interrupted.
"""

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import click

from kcompress import __version__
from kcompress.errors import KCompressError, printable

PLACE = Path(__file__).parent / "commands"
UNFORESEEN, INTERRUPTED, TERMINATED = 70, 130, 143
LAST_STANDARD_FILE = 2
DEBUG = "KCOMPRESS_DEBUG"
"""With this variable set, the traceback of an error that nobody foresaw is shown too."""


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
    """Run the command line; a user's mistake is one line on standard error, and so is an error nobody foresaw."""
    signal.signal(signal.SIGTERM, _terminate)
    sink = _standard_files_opened()
    sys.stdout, sys.stderr = (cast(TextIO, Forgiving(stream or sink)) for stream in (sys.stdout, sys.stderr))
    try:
        code = _run()
    except Exception as error:  # the last resort: what is not foreseen anywhere
        code = UNFORESEEN
        from kcompress.cli import crash

        click.echo(f"Error: {crash.told(error)}", err=True)
        if os.environ.get(DEBUG):
            traceback.print_exc()
    sys.exit(code)


def _standard_files_opened() -> TextIO:
    """A sink for a stream that is closed. Descriptors 0 to 2 that are not in use lead there, too: else the next file to
    be opened would get one of them, and all that libraries print."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= LAST_STANDARD_FILE:
        descriptor = os.open(os.devnull, os.O_RDWR)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _run() -> int:
    """Carry out the command; its exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except KCompressError as error:
        click.echo(f"Error: {error}", err=True)
        from kcompress import hosts

        hosts.exit_now(error.exit_code)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        click.echo(f"Error: {printable(' '.join(error.format_message().split()))}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; nothing was written.", err=True)
        return INTERRUPTED
    except SystemExit as asked:
        return asked.code if isinstance(asked.code, int) else int(asked.code is not None)
    return code if isinstance(code, int) else 0


class Forgiving:
    """A stream that is written to as long as that works; where it is closed or full, the exit code tells it too."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._tried():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._tried():
            self._stream.flush()

    @contextlib.contextmanager
    def _tried(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                # So that Python, which writes what is left once more when it ends, finds nothing wrong.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


if __name__ == "__main__":
    main()
