"""Several processes, on one host or on several, that train one model together."""

from kcompress.hosts.settings import Group, Hosts, settle
from kcompress.hosts.team import Team, leave, together

__all__ = ["Group", "Hosts", "Team", "leave", "settle", "together"]
