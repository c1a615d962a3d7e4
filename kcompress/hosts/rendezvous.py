"""All processes connect to process 0 before JAX starts, since JAX would end a process when another one is missing.

Each of the others connects to the coordinator's port and sends its number. Once all have connected, process 0 tells
each to go on, and JAX takes over the port. After the timeout, an error names the processes that are missing. The
connections stay open.
"""

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from typing import Any

from kcompress.errors import HostsError, UsageError

PAUSE_SECONDS = 0.1
Message = dict[str, Any]


class Connection:
    """Sends JSON documents to another process and receives them from it, one a line."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._reader = connected.makefile("r", encoding="utf-8")

    def send(self, **message: Any) -> None:
        """Send a message; nothing happens if the other process is gone."""
        with contextlib.suppress(OSError):
            self._socket.sendall(f"{json.dumps(message)}\n".encode())

    def receive(self, seconds: float | None) -> Message:
        """The next message; empty if the other process is gone or sends something else.

        Raises TimeoutError after so many seconds.
        """
        self._socket.settimeout(seconds)
        try:
            message = json.loads(self._reader.readline())
        except TimeoutError:
            raise
        except (OSError, ValueError):
            return {}
        return message if isinstance(message, dict) else {}

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


@dataclass(frozen=True)
class Deadline:
    """Until when to wait for processes, and at which address."""

    coordinator: str
    seconds: float
    until: float

    @property
    def left(self) -> float:
        """Seconds."""
        return max(self.until - time.monotonic(), 0.001)

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.until

    def message(self, who: str) -> str:
        return (
            f"{who} did not answer at {self.coordinator} within {self.seconds:g} seconds (--timeout); see whether it "
            "runs and can reach that address"
        )


def rendezvous(coordinator: str, processes: int, process: int, seconds: float) -> list[Connection]:
    """Wait until all processes have connected; gives the connections to the others in order, or the one to process 0.

    Raises HostsError if they have not connected within so many seconds, UsageError if they were started with numbers
    that do not fit together.
    """
    host, _, port = coordinator.rpartition(":")
    deadline = Deadline(coordinator, seconds, time.monotonic() + seconds)
    if process:
        return [_connect(host.strip("[]"), int(port), processes, process, deadline)]
    connected: dict[int, Connection] = {}
    try:
        with _server(coordinator, int(port)) as server:
            _accept(server, processes, connected, deadline)
    except (HostsError, UsageError) as error:
        for connection in connected.values():
            connection.send(failed=str(error))
            connection.close()
        raise
    for connection in connected.values():
        connection.send(go=True)
    return [connected[number] for number in range(1, processes)]


def _accept(server: socket.socket, processes: int, connected: dict[int, Connection], deadline: Deadline) -> None:
    """As process 0, accept connections until all others are in `connected`."""
    while len(connected) < processes - 1:
        server.settimeout(deadline.left)
        try:
            connection = Connection(server.accept()[0])
            message = connection.receive(min(deadline.left, 10.0))
        except OSError:
            if not deadline.passed:
                continue
            missing = [str(number) for number in range(1, processes) if number not in connected]
            raise HostsError(deadline.message(f"process {', '.join(missing)} of {processes}")) from None
        number, theirs = message.get("process"), message.get("processes")
        if not isinstance(number, int) or not isinstance(theirs, int):
            connection.close()  # it is not from kcompress
            continue
        problem = ""
        if theirs != processes:
            problem = f"--processes is {theirs} for process {number} and {processes} for process 0; give all the same"
        elif number in connected:
            problem = f"--process {number} was given to two processes; give each a number of its own, from 0"
        if problem:
            connection.send(failed=problem)
            raise UsageError(problem)
        connected[number] = connection


def _connect(host: str, port: int, processes: int, process: int, deadline: Deadline) -> Connection:
    """As any other process, connect to process 0 and wait until it says to go on."""
    while not deadline.passed:
        message: Message = {}
        with contextlib.suppress(OSError):
            connection = Connection(socket.create_connection((host, port), deadline.left))
            connection.send(process=process, processes=processes)
            message = connection.receive(deadline.left + 1)  # process 0 knows better who is missing
            if message.get("go"):
                return connection
            connection.close()
        if "failed" in message:
            raise HostsError(str(message["failed"]))
        time.sleep(PAUSE_SECONDS)
    raise HostsError(deadline.message(f"process 0 of {processes}"))


def _server(coordinator: str, port: int) -> socket.socket:
    """A socket that listens on all addresses of this host."""
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except (OSError, OverflowError) as error:
        raise HostsError(f"--coordinator {coordinator}: cannot listen there ({error}); give another port") from error
