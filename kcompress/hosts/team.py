"""What processes that train together tell each other besides gradients: that they do the same, and how it ended."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from kcompress.backend import silenced
from kcompress.errors import HostsError, KCompressError, UsageError
from kcompress.hosts.roll_call import Line, call
from kcompress.hosts.settings import ProcessGroup

PARTING_SECONDS = 5.0


class Team:
    """The processes, and which one this is; a process alone is the first of one."""

    def __init__(self, processes: int = 1, process: int = 0, lines: Sequence[Line] = ()) -> None:
        self.processes, self.process = processes, process
        self._lines = lines

    @property
    def first(self) -> bool:
        """Whether this process writes, measures and reports."""
        return self.process == 0

    def all(self, what: str, text: str, seconds: float | None = None) -> list[str]:
        """What each process says about something, in order; HostsError if one has failed, or says nothing in time."""
        if not self.first:
            self._lines[0].say(what=what, text=text)
            return list(map(str, self._heard(self._lines[0], 0, what, seconds)))
        texts = [text]
        try:
            for number, line in enumerate(self._lines, 1):
                texts += self._heard(line, number, what, seconds)
        except HostsError as error:
            self.fail(str(error))
            raise
        for line in self._lines:
            line.say(what=what, text=texts)
        return texts

    def from_first(self, what: str, text: str) -> str:
        """What the first process says, to all who are still there."""
        if not self.first:
            return self._heard(self._lines[0], 0, what, None)[0]
        for line in self._lines:
            line.say(what=what, text=text)
        return text

    def same(self, what: str, text: str, seconds: float) -> None:
        """Check that all processes say the same; UsageError naming the first that does not."""
        texts = self.all(what, text, seconds)
        for number, other in enumerate(texts):
            if other != texts[0]:
                raise UsageError(f"process {number} has another {what} than process 0; give the same to all")

    def fail(self, why: str) -> None:
        """Tell the others that this process gives up."""
        for line in self._lines:
            line.say(failed=why, process=self.process)

    def part(self) -> None:
        """Let go of the others; the first waits a little until they are gone, as JAX ends them where it goes first."""
        for line in self._lines:
            with suppress(TimeoutError):
                while self.first and line.hear(PARTING_SECONDS):
                    pass
            line.close()

    def _heard(self, line: Line, number: int, what: str, seconds: float | None) -> list[str]:
        try:
            said = line.hear(seconds)
        except TimeoutError:
            raise HostsError(
                f"process {number} of {self.processes} said nothing within {seconds:g} seconds (--timeout); see "
                "whether it is still there, or give it longer"
            ) from None
        if "failed" in said:
            raise HostsError(f"process {said.get('process', number)} of {self.processes} gave up: {said['failed']}")
        if said.get("what") != what:
            raise HostsError(f"process {number} of {self.processes} went away; see what it said")
        text = said["text"]
        return text if isinstance(text, list) else [text]


_running: dict[str, Team] = {}
"""The team that JAX was started for, which can be done once in a process."""


@contextmanager
def together(group: ProcessGroup | None) -> Iterator[Team]:
    """Meanwhile, be one of these processes, all of which do the same; alone without any.

    Raises HostsError if another one does not answer in time, or gives up.
    """
    if group is None:
        yield Team()
        return
    team = _joined(group)
    try:
        yield team
    except HostsError:
        raise
    except BaseException as error:
        team.fail(str(error) if isinstance(error, KCompressError) else type(error).__name__)
        raise


def leave(code: int) -> None:
    """After an error, end this process at once if it is one of several: at its end JAX would wait for the others."""
    if not _running:
        return
    for team in _running.values():
        team.part()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _joined(group: ProcessGroup) -> Team:
    key = f"{group.coordinator} {group.processes} {group.process}"
    if key in _running:
        return _running[key]
    import jax
    from jax.experimental import multihost_utils

    if _running or jax.distributed.is_initialized():
        raise UsageError("JAX was started for several processes before; let compress do it, or run it in a new process")
    lines = call(group.coordinator, group.processes, group.process, group.seconds)
    team = Team(group.processes, group.process, lines)
    try:
        jax.distributed.initialize(
            group.coordinator,
            group.processes,
            group.process,
            group.local_devices,
            cluster_detection_method="deactivate",
            initialization_timeout=math.ceil(group.seconds),
            shutdown_timeout_seconds=math.ceil(group.seconds),
        )
    except RuntimeError as error:
        problem = (
            "distribute on several hosts: JAX computed something before the processes were joined; give the model by "
            "its path, or run this first"
        )
        team.fail(problem)
        raise UsageError(problem) from error
    with silenced(1):  # gloo says on standard output that it is there
        multihost_utils.sync_global_devices("kcompress")
    _running[key] = team
    return team
