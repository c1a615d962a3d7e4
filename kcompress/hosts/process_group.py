"""What the processes of a group exchange besides gradients: that all do the same, results, and errors."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from kcompress.backend import silenced
from kcompress.errors import HostsError, KCompressError, UsageError
from kcompress.hosts.rendezvous import Connection, rendezvous
from kcompress.hosts.settings import ResolvedHosts

CLOSE_SECONDS = 5.0


class ProcessGroup:
    """The processes that train together, seen from this one; a process alone is a group of one."""

    def __init__(self, processes: int = 1, process: int = 0, connections: Sequence[Connection] = ()) -> None:
        self.processes, self.process = processes, process
        self._connections = connections

    @property
    def first(self) -> bool:
        """Whether this process writes, measures and reports."""
        return self.process == 0

    def all_gather(self, what: str, text: str, seconds: float | None = None) -> list[str]:
        """The text of each process, in order; `what` names it, and is the same in all of them.

        Raises HostsError if another process has failed, or sends nothing within so many seconds.
        """
        if not self.first:
            self._connections[0].send(what=what, text=text)
            return list(map(str, self._received(self._connections[0], 0, what, seconds)))
        texts = [text]
        try:
            for number, connection in enumerate(self._connections, 1):
                texts += self._received(connection, number, what, seconds)
        except HostsError as error:
            self.abort(str(error))
            raise
        for connection in self._connections:
            connection.send(what=what, text=texts)
        return texts

    def broadcast(self, what: str, text: str = "") -> str:
        """The text of the first process, in all of them; what the others give does not matter."""
        if not self.first:
            return self._received(self._connections[0], 0, what, None)[0]
        for connection in self._connections:
            connection.send(what=what, text=text)
        return text

    def check_equal(self, what: str, text: str, seconds: float) -> None:
        """Raise UsageError, naming the first process that differs, unless all give the same text."""
        texts = self.all_gather(what, text, seconds)
        for number, other in enumerate(texts):
            if other != texts[0]:
                raise UsageError(f"process {number} has another {what} than process 0; give the same to all")

    def abort(self, why: str) -> None:
        """Tell the others that this process gives up."""
        for connection in self._connections:
            connection.send(failed=why, process=self.process)

    def close(self) -> None:
        """Close the connections. The first process waits a little for the others: JAX ends them when it ends first."""
        for connection in self._connections:
            with suppress(TimeoutError):
                while self.first and connection.receive(CLOSE_SECONDS):
                    pass
            connection.close()

    def _received(self, connection: Connection, number: int, what: str, seconds: float | None) -> list[str]:
        try:
            message = connection.receive(seconds)
        except TimeoutError:
            raise HostsError(
                f"process {number} of {self.processes} said nothing within {seconds:g} seconds (--timeout); see "
                "whether it is still there, or give it longer"
            ) from None
        if "failed" in message:
            failed = message.get("process", number)
            raise HostsError(f"process {failed} of {self.processes} gave up: {message['failed']}")
        if message.get("what") != what:
            raise HostsError(f"process {number} of {self.processes} went away; see what it said")
        text = message["text"]
        return text if isinstance(text, list) else [text]


_joined: dict[tuple[str, int, int], ProcessGroup] = {}
"""The one group that this process is in, if any: JAX can be started for several processes only once in a process."""


@contextmanager
def joined(hosts: ResolvedHosts | None) -> Iterator[ProcessGroup]:
    """Within it, this process is in the group of these processes; in a group of one without any.

    If an error ends it, the others get a message and end too. Raises HostsError if another process does not answer in
    time, or gives up.
    """
    if hosts is None:
        yield ProcessGroup()
        return
    group = _join(hosts)
    try:
        yield group
    except HostsError:
        raise
    except BaseException as error:
        group.abort(str(error) if isinstance(error, KCompressError) else type(error).__name__)
        raise


def exit_now(code: int) -> None:
    """After an error, end this process at once if it is one of several: otherwise JAX would wait for the others."""
    if not _joined:
        return
    for group in _joined.values():
        group.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _join(hosts: ResolvedHosts) -> ProcessGroup:
    key = hosts.coordinator, hosts.processes, hosts.process
    if key in _joined:
        return _joined[key]
    import jax
    from jax.experimental import multihost_utils

    if _joined or jax.distributed.is_initialized():
        raise UsageError("JAX was started for several processes before; let compress do it, or run it in a new process")
    connections = rendezvous(hosts.coordinator, hosts.processes, hosts.process, hosts.seconds)
    group = ProcessGroup(hosts.processes, hosts.process, connections)
    try:
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.processes,
            hosts.process,
            hosts.local_devices,
            cluster_detection_method="deactivate",
            initialization_timeout=math.ceil(hosts.seconds),
            shutdown_timeout_seconds=math.ceil(hosts.seconds),
        )
    except RuntimeError as error:
        problem = (
            "distribute on several hosts: JAX computed something before the processes were joined; give the model by "
            "its path, or run this first"
        )
        group.abort(problem)
        raise UsageError(problem) from error
    with silenced(1):  # gloo says on standard output that it is there
        multihost_utils.sync_global_devices("kcompress")
    _joined[key] = group
    return group
