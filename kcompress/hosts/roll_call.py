"""All processes call in at process 0 before JAX starts, which would end the process when one of them does not.

Each of the others connects to the coordinator's port and says its number. Once all are there, each is told to go on;
then JAX takes over the port. Whoever waited too long is told, or finds out, which one is missing. The connections stay
open.
"""

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from typing import Any

from kcompress.errors import HostsError, UsageError

PAUSE_SECONDS = 0.1
Said = dict[str, Any]


class Line:
    """One JSON document a line, to and from another process."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("r", encoding="utf-8")

    def say(self, **words: Any) -> None:
        """Send; nothing happens if nobody is there any more."""
        with contextlib.suppress(OSError):
            self._connection.sendall(f"{json.dumps(words)}\n".encode())

    def hear(self, seconds: float | None) -> Said:
        """Receive; empty if the other one went away or talks otherwise. TimeoutError after so many seconds."""
        self._connection.settimeout(seconds)
        try:
            said = json.loads(self._reader.readline())
        except TimeoutError:
            raise
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def close(self) -> None:
        self._reader.close()
        self._connection.close()


@dataclass(frozen=True)
class Wait:
    """How long to wait, and where."""

    coordinator: str
    seconds: float
    until: float

    @property
    def left(self) -> float:
        return max(self.until - time.monotonic(), 0.001)

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.until

    def late(self, who: str) -> str:
        return (
            f"{who} did not answer at {self.coordinator} within {self.seconds:g} seconds (--timeout); see whether it "
            "runs and can reach that address"
        )


def call(coordinator: str, processes: int, process: int, seconds: float) -> list[Line]:
    """Return when all processes are there: the lines to all others in order for process 0, the line to it for them.

    Raises HostsError if they are not there within so many seconds, UsageError if they were started with other numbers.
    """
    host, _, port = coordinator.rpartition(":")
    wait = Wait(coordinator, seconds, time.monotonic() + seconds)
    if process:
        return [_answer(host.strip("[]"), int(port), processes, process, wait)]
    there: dict[int, Line] = {}
    try:
        with _server(coordinator, int(port)) as server:
            _gather(server, processes, there, wait)
    except (HostsError, UsageError) as error:
        for line in there.values():
            line.say(failed=str(error))
            line.close()
        raise
    for line in there.values():
        line.say(go=True)
    return [there[number] for number in range(1, processes)]


def _gather(server: socket.socket, processes: int, there: dict[int, Line], wait: Wait) -> None:
    """What process 0 does until all are there."""
    while len(there) < processes - 1:
        server.settimeout(wait.left)
        try:
            line = Line(server.accept()[0])
            said = line.hear(min(wait.left, 10.0))
        except OSError:
            if not wait.over:
                continue
            missing = [str(number) for number in range(1, processes) if number not in there]
            raise HostsError(wait.late(f"process {', '.join(missing)} of {processes}")) from None
        number, theirs = said.get("process"), said.get("processes")
        if not isinstance(number, int) or not isinstance(theirs, int):
            line.close()  # somebody else's
            continue
        problem = ""
        if theirs != processes:
            problem = f"--processes is {theirs} for process {number} and {processes} for process 0; give all the same"
        elif number in there:
            problem = f"--process {number} was given to two processes; give each a number of its own, from 0"
        if problem:
            line.say(failed=problem)
            raise UsageError(problem)
        there[number] = line


def _answer(host: str, port: int, processes: int, process: int, wait: Wait) -> Line:
    """What every other process does."""
    while not wait.over:
        said: Said = {}
        with contextlib.suppress(OSError):
            line = Line(socket.create_connection((host, port), wait.left))
            line.say(process=process, processes=processes)
            said = line.hear(wait.left + 1)  # process 0 knows better who is missing
            if said.get("go"):
                return line
            line.close()
        if "failed" in said:
            raise HostsError(str(said["failed"]))
        time.sleep(PAUSE_SECONDS)
    raise HostsError(wait.late(f"process 0 of {processes}"))


def _server(coordinator: str, port: int) -> socket.socket:
    """A socket that listens on all addresses of this host."""
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except (OSError, OverflowError) as error:
        raise HostsError(f"--coordinator {coordinator}: cannot listen there ({error}); give another port") from error
