"""What a command did that its arguments do not name: programs, connections, and files outside of its folder.

A command that is started with the variable `KCOMPRESS_TEST_WATCH` is watched by a hook for Python's audit events; what
it should not have done is written to the file that the variable names.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

VARIABLE = "KCOMPRESS_TEST_WATCH"
STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "pty.spawn")
OWN = [[sys.executable, "-P", "-m", f"kcompress.formats.{module}"] for module in ("hdf5_process", "savedmodel.process")]
CONNECTS = (
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "urllib.Request",
    "ftplib.connect",
    "smtplib.connect",
)
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
RUNS = ("marshal.loads",)
"""Code from bytes; imports do so too, but from within `importlib`."""


def watch(log: Path) -> None:
    """Watch this process from now on."""
    ours = (Path.cwd(), Path(tempfile.gettempdir()), log.parent)
    reading = (*ours, *map(Path, (sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev", "/etc", "/usr/share", "/lib")))
    reading = (*reading, Path(__file__).parents[2], Path.home() / ".keras")
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def within(path: Any, folders: tuple[Path, ...]) -> bool:
        if isinstance(path, int):
            return True
        whole = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - links are followed by `resolve`
        return any(whole.is_relative_to(folder) for folder in folders)

    def own(event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether it is one of our processes, which are confined."""
        return event == "subprocess.Popen" and [*arguments[1]][:4] in OWN

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        bad = (event in STARTS and not own(event, arguments)) or event in CONNECTS
        if event == "open":
            path, mode, flags = arguments
            writes = any(sign in str(mode or "") for sign in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
            bad = not within(path, (*ours, Path("/dev"), Path("/proc/self")) if writes else reading)
        elif event in CHANGES:
            bad = not within(arguments[0], ours)
        elif event in RUNS:
            bad = "importlib" not in sys._getframe(1).f_code.co_filename
        if bad:
            os.write(descriptor, f"{event} {arguments!r}\n"[:500].encode(errors="replace"))

    sys.addaudithook(seen)
