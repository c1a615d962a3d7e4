"""Which processes train together, as options say, else environment variables, else the cluster, as JAX detects it.

The variables, in order: KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and
KERAS_DISTRIBUTION_PROCESS_ID; JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. The clusters are those of
Slurm, Open MPI and Kubernetes.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcompress.errors import HostsError, UsageError
from kcompress.keras_internals import detected_cluster
from kcompress.settings import Settings, setting

TIMEOUT = 300.0
VARIABLES = {
    "coordinator": ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "JAX_COORDINATOR_ADDRESS"),
    "processes": ("KERAS_DISTRIBUTION_NUM_PROCESSES", "JAX_NUM_PROCESSES"),
    "process": ("KERAS_DISTRIBUTION_PROCESS_ID", "JAX_PROCESS_ID"),
}
CLUSTERS = {"SLURM_NTASKS": "SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_SIZE": "OMPI_MCA_orte_hnp_uri"}
"""For each kind of cluster, the variable with the number of processes, and one that each of these processes has."""


class Hosts(Settings):
    """The processes that train together, and which of them this one is. None: the environment says it."""

    coordinator: str | None = setting(None, metavar="HOST:PORT", unset="environment")
    """Where process 0 is, for several hosts (JAX), such as 10.0.0.1:1234."""
    processes: int | None = setting(None, metavar="N", ge=1, unset="environment")
    """The number of processes on all hosts, such as 2."""
    process: int | None = setting(None, metavar="I", ge=0, unset="environment")
    """The number of this process, from 0."""
    timeout: float | None = setting(None, metavar="SECONDS", unset="300")
    """The seconds to wait for other hosts, such as 300."""

    @property
    def given(self) -> bool:
        """Whether anything says that there are several."""
        return any(value is not None for value in (self.coordinator, self.processes, self.process))


@dataclass(frozen=True)
class ResolvedHosts:
    """`Hosts` with every field known. `local_devices` are the devices of its host that this process uses; None: all."""

    coordinator: str
    processes: int
    process: int
    seconds: float
    local_devices: tuple[int, ...] | None = None


def is_distributed(environment: Mapping[str, str]) -> bool:
    """Whether the environment says that there is more than one process."""
    if any(environment.get(name) for name in VARIABLES["coordinator"]):
        return True
    if any(_number(environment, name) > 1 and other in environment for name, other in CLUSTERS.items()):
        return True
    pod = "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment
    return pod or '"worker"' in environment.get("TF_CONFIG", "")


def resolve(asked: Hosts | None, backend: str, environment: Mapping[str, str] | None = None) -> ResolvedHosts | None:
    """The processes that train together; None if there is only this one.

    Raises UsageError for a backend other than JAX, and for settings that are missing or impossible; HostsError if JAX
    can't detect the cluster.
    """
    environment = os.environ if environment is None else environment
    asked = asked or Hosts()
    seconds = TIMEOUT if asked.timeout is None else asked.timeout
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--timeout {seconds:g}: must be above 0; give seconds, such as 300")
    if asked.processes == 1 or not (asked.given or is_distributed(environment)):
        return None
    if backend != "jax":
        raise UsageError(
            f"distribute on several hosts needs JAX, not {backend}: Keras 3 does not work with TensorFlow's "
            "MultiWorkerMirroredStrategy (keras #20585); pass --backend jax"
        )
    coordinator = asked.coordinator or _variable(environment, "coordinator")
    processes = asked.processes if asked.processes is not None else _count(environment, "processes")
    process = asked.process if asked.process is not None else _count(environment, "process")
    local: Sequence[int] | None = None
    if coordinator is None or processes is None or process is None:
        coordinator, processes, process, local = _detected(coordinator, processes, process, seconds)
    if coordinator is None or processes is None or process is None:
        given = {"--coordinator": coordinator, "--processes": processes, "--process": process}
        missing = ", ".join(option for option, value in given.items() if value is None)
        raise UsageError(f"distribute on several hosts: no {missing}; give --coordinator, --processes and --process")
    coordinator = coordinator.split(",")[0]
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UsageError(f"--coordinator {coordinator}: is not HOST:PORT; give one such as 10.0.0.1:1234")
    if not 0 <= process < processes:
        raise UsageError(f"--process {process}: must be from 0 to {processes - 1}, as there are {processes} processes")
    if processes == 1:
        return None
    return ResolvedHosts(coordinator, processes, process, seconds, None if local is None else tuple(local))


def _detected(coordinator: str | None, processes: int | None, process: int | None, seconds: float) -> Any:
    """The three settings, with those that are None from the cluster as JAX detects it, and this process's devices."""
    try:
        return detected_cluster(coordinator, processes, process, math.ceil(seconds))
    except (RuntimeError, OSError, KeyError, ValueError) as error:
        raise HostsError(f"the cluster does not say which processes there are ({error}); give --coordinator") from error


def _variable(environment: Mapping[str, str], field: str) -> str | None:
    return next((environment[name] for name in VARIABLES[field] if environment.get(name)), None)


def _count(environment: Mapping[str, str], field: str) -> int | None:
    return next((_number(environment, name) for name in VARIABLES[field] if environment.get(name)), None)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "0")
    if not text.isdecimal():
        raise UsageError(f"{name}={text}: is not a whole number; set it right or unset it")
    return int(text)
