"""Several processes, on one host or on several, that train one model together."""

from kcompress.hosts.settings import Hosts, ProcessGroup, settle
from kcompress.hosts.team import Team, leave, together

__all__ = ["Hosts", "ProcessGroup", "Team", "leave", "settle", "together"]
