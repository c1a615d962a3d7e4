"""Options of commands, made of the settings that verbs declare."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kcompress.settings import Settings

Declared = Callable[[], "Sequence[type[Settings]]"]

MODEL = click.argument("model", type=click.Path(path_type=Path))
MODELS = click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL MODEL...")
OUTPUT = click.argument("output", type=click.Path(path_type=Path))


class Verb(click.Command):
    """A command with an option for each setting of a verb, and those that all commands share.

    Settings are loaded when the options are needed, so that the program's own help is there at once.
    """

    def __init__(self, *args: Any, declared: Declared, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._declared: Declared | None = declared

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if self._declared is not None:
            self.params += [*(option for each in self._declared() for option in options(each)), *shared()]
            self._declared = None
        return super().get_params(ctx)


def verb(declared: Declared) -> Callable[[Callable[..., None]], Verb]:
    """Make a command of a function; `declared` gives the settings, each of which becomes a keyword argument."""
    return click.command(cls=Verb, declared=declared)


def options(settings: "type[Settings]") -> list[click.Option]:
    """An option for each setting that the command line has; values are texts, which the settings read."""
    from kcompress.settings import extra_of

    return [_option(settings, name) for name in settings.model_fields if extra_of(settings, name)["cli"]]


def shared() -> list[click.Option]:
    """Options that all commands have and no verb takes."""
    return [
        click.Option(["--backend"], metavar="NAME", help="The Keras backend: tensorflow, jax or torch."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document and nothing else."),
        click.Option(["--quiet"], is_flag=True, help="Print nothing but errors."),
    ]


def _option(settings: "type[Settings]", name: str) -> click.Option:
    from kcompress.fields import kinds_of
    from kcompress.settings import extra_of

    info, extra = settings.model_fields[name], extra_of(settings, name)
    kinds, default = kinds_of(info.annotation), info.get_default()
    help_text = " ".join((info.description or "").split())
    if extra["unset"]:
        help_text = f"{help_text.removesuffix('.')} [{extra['unset']}]."
    flags = [settings.option(name), name]
    if bool in kinds:
        return click.Option(flags, is_flag=True, help=help_text)
    many = isinstance(default, tuple)
    return click.Option(
        flags,
        metavar=extra["metavar"] or None,
        type=str,
        multiple=many,
        default=None if many else default,
        show_default=not many and default is not None,
        help=help_text,
    )
