"""Processes of our own that a run starts: how, and what one that runs a stranger's graph must not do."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence

FORBIDDEN = 0b1111_1111_1111_0011  # Linux, linux/landlock.h: all rights to files and folders but to read and to list
CONNECTING = 0b11  # to bind and to connect TCP sockets
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights to files each version knows; later ones know 16
CREATE_RULESET, RESTRICT_SELF = 444, 446
NO_NEW_PRIVILEGES = 38
SHARE_OF_MEMORY = 0.75
"""How much of the machine's memory a process that reads or runs a stranger's file gets."""


def command(module: str, *arguments: str) -> Sequence[str]:
    """The command that runs one of our modules. The current folder, which may be a stranger's, is not imported from."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(**more: str) -> dict[str, str]:
    """Our own environment for a child, which finds modules where this process does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


def confine(most_bytes: int) -> None:
    """From now on, and until it ends, this process writes no file, starts no program, opens no connection, and has no
    more than so many bytes of memory of its own: as far as the operating system can see to that.

    To be called before the process has threads.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    for limit, most in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_DATA, most_bytes)):
        hard = resource.getrlimit(limit)[1]
        with contextlib.suppress(ValueError, OSError):  # not every system has each of them
            resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    if sys.platform == "linux":
        _confine_with_landlock()


def _confine_with_landlock() -> None:
    """Linux 5.13 and newer: refuse to write and to run programs; 6.7 and newer: to connect, too."""
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(CREATE_RULESET, None, 0, 1)
    if version < 1:
        return
    known = (1 << RIGHTS.get(version, 16)) - 1
    attributes = (ctypes.c_uint64 * 2)(FORBIDDEN & known, CONNECTING if version >= 4 else 0)
    ruleset = library.syscall(CREATE_RULESET, attributes, ctypes.sizeof(attributes) if version >= 4 else 8, 0)
    if ruleset >= 0:
        library.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        library.syscall(RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)
