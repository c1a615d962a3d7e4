"""Several processes, on one host or on several, that train one model together."""

from kcompress.hosts.process_group import ProcessGroup, exit_now, joined
from kcompress.hosts.settings import Hosts, ResolvedHosts, resolve

__all__ = ["Hosts", "ProcessGroup", "ResolvedHosts", "exit_now", "joined", "resolve"]
