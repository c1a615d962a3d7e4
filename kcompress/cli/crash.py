"""An error that nobody foresaw: one line for the user, and a file with all that a report of a bug needs."""

import platform
import sys
import tempfile
import traceback
from pathlib import Path

from kcompress.errors import one_line, printable
from kcompress.versions import versions


def told(error: Exception) -> str:
    """What is said of an error, with the path of the file that has its traceback."""
    kind = type(error).__name__
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="kcompress-error-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(document(error))
    except OSError:
        return printable(f"{kind}: {one_line(error)}; this is a bug in kcompress, set KCOMPRESS_DEBUG=1 to see where")
    return printable(f"{kind}: {one_line(error)}; this is a bug in kcompress, please report it with {Path(file.name)}")


def document(error: Exception) -> str:
    """The command, versions and traceback of an error."""
    lines = [f"$ kcompress {' '.join(sys.argv[1:])}", platform.platform()]
    lines += [f"{name} {version}" for name, version in versions().items()]
    return "\n".join([*lines, "", "".join(traceback.format_exception(error))])
