"""What kcompress raises. Each message is one line: what was received, what is allowed, what to do.

KCompressError                 exit code 2
├── UsageError                 an option, a field or a recipe that cannot be right
│   └── MissingExtraError      a library that an extra brings is not installed
├── DataError                  a data set that cannot be read or does not fit the model
├── ModelError                 a model that cannot be read, or holds something impossible
│   └── UnsupportedError       a model or file that is fine, but this cannot be done with it
├── OutputError                the output cannot be written
├── ContractError              a pass broke a promise; a bug in that pass, not in the input
├── HostsError                 another process that trains together with this one does not answer, or gave up
├── StrictError                `--strict`, and a layer stayed as it was
└── UnsafeError                exit code 3: the file would run code of its own
"""


class KCompressError(Exception):
    """Base of everything that kcompress raises on purpose."""

    exit_code = 2

    def __str__(self) -> str:
        """The message on one line, whatever was quoted in it."""
        return printable(" ".join(super().__str__().splitlines()))


class UsageError(KCompressError, ValueError):
    """An option, a field or a recipe that cannot be right."""


class MissingExtraError(UsageError, ImportError):
    """A library that an extra brings is not installed.

    >>> str(MissingExtraError("tensorflow", "writing out.tflite"))
    "writing out.tflite needs the 'tensorflow' extra; run: pip install 'kcompress[tensorflow]'"
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the '{extra}' extra; run: pip install 'kcompress[{extra}]'")


class DataError(KCompressError, ValueError):
    """A data set that cannot be read or does not fit the model."""


class ModelError(KCompressError, ValueError):
    """A model that cannot be read, or holds something impossible."""


class UnsupportedError(ModelError):
    """A model or file that is fine, but this cannot be done with it."""


class OutputError(KCompressError, OSError):
    """The output cannot be written."""


class ContractError(KCompressError, RuntimeError):
    """A pass broke a promise; a bug in that pass, not in the input."""


class HostsError(KCompressError, ConnectionError):
    """Another process that trains together with this one does not answer, or gave up."""


class StrictError(KCompressError):
    """`--strict` was given, and a layer stayed as it was."""


class UnsafeError(KCompressError):
    """The file would run code of its own; refused before anything was built."""

    exit_code = 3


def one_line(error: BaseException) -> str:
    """The first informative line of an exception, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[0] if lines else type(error).__name__, 200)


def shortened(text: str, most: int = 80) -> str:
    """The beginning of a text that comes from elsewhere.

    >>> shortened("a very long text", 10)
    'a very ...'
    """
    return text if len(text) <= most else text[: most - 3] + "..."


def printable(text: str) -> str:
    r"""A text whose characters a terminal shows as they are; others, which it might obey, are written out.

    >>> printable("red \x1b[31m")
    'red \\x1b[31m'
    """
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
